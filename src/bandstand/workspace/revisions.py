"""What git knows of a folder."""

import subprocess
from pathlib import Path

from bandstand.exceptions import WorkspaceError

__all__ = ["commit_of", "git", "known_commit"]


def git(folder: Path, *arguments: str) -> str | None:
    """Return the answer of git in ``folder``; None if it has none."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the git of whoever runs this
            capture_output=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode() if done.returncode == 0 else None


def commit_of(folder: Path, revision: str) -> str | None:
    """Return the commit that ``revision`` means in ``folder``, or None if git does not know it."""
    found = git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return found.strip() if found else None


def known_commit(folder: Path, revision: str) -> str:
    """The same, where it must be known.

    Raises:
        WorkspaceError: git does not know it.
    """
    if commit := commit_of(folder, revision):
        return commit
    raise WorkspaceError(
        f"git does not know {revision!r} here.",
        hint="Name a branch, tag or commit that this clone has (in CI, fetch it first: git fetch origin main).",
    )
