"""Where a rendered file says that it was rendered, and from what."""

__all__ = ["heading", "mark"]


def mark(kind: str) -> str:
    """Return what every file of an exporter holds, so that none of somebody else's is ever written over."""
    return f"Rendered by `bandstand export {kind}`"


def heading(kind: str) -> str:
    """Return the comment that such a file begins with, where ``#`` begins one."""
    return f"# {mark(kind)} from bandstand.toml; change that instead, and render anew.\n"
