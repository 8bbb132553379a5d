"""What stands below the help of each command."""

from typing import Final

__all__ = ["epilog"]

_EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("bandstand up", "start everything, stop with Ctrl-C"),
        ("bandstand up -d --json", "start in the background"),
        ("bandstand ps", "what runs"),
        ("bandstand logs user-service -f", "follow one service"),
        ("bandstand exec user-service bash", "a shell with its environment"),
        ("bandstand migrate order-service", "apply migrations of one service"),
        ("bandstand reload", "give the gateway changed routes"),
        ("bandstand restart user-service", "new processes, no failed request"),
        ("bandstand export compose", "render the platform for production"),
        ("bandstand secrets", "make passwords and keys for it"),
        ("bandstand secrets rotate", "replace those of what runs"),
        ("bandstand contracts check", "can every consumer read its events?"),
        ("bandstand policy explain A B", "what holds for calls of A to B"),
        ("bandstand check migrations", "does the release before survive them?"),
        ("bandstand events status", "where the events of all services are"),
        ("bandstand down", "stop everything"),
    ),
    "up": (
        ("bandstand up", "show the log, stop with Ctrl-C"),
        ("bandstand up --detach", "return when all is ready"),
        ("bandstand up -d --json", "one JSON object: addresses and seconds"),
        ("bandstand -C ~/shop up", "the platform of another folder"),
    ),
    "down": (
        ("bandstand down", "stop in good order"),
        ("bandstand down --json", "for machines"),
    ),
    "ps": (
        ("bandstand ps", "name, state, port, restarts, memory"),
        ("bandstand ps --json", "for machines"),
    ),
    "logs": (
        ("bandstand logs", "the last lines of all"),
        ("bandstand logs order-service -f", "follow one service"),
        ("bandstand logs postgres -n 200", "the last 200 lines of a server"),
    ),
    "migrate": (
        ("bandstand migrate", "all services"),
        ("bandstand migrate order-service", "one service"),
    ),
    "export": (
        ("bandstand export dockerfile", "into deploy/dockerfile"),
        ("bandstand export compose --out /srv/shop", "into another folder"),
        ("bandstand export kubernetes --check", "fail if deploy/kubernetes is stale"),
    ),
    "secrets": (
        ("bandstand secrets", "into deploy/compose/secrets"),
        ("bandstand secrets --out ~/shop-secrets", "into another folder"),
    ),
    "secrets rotate": (
        ("bandstand secrets rotate", "of the platform that runs"),
        ("bandstand secrets rotate --step accept", "first of three, of rendered files"),
        ("bandstand secrets rotate --step use", "when all accept the new ones"),
        ("bandstand secrets rotate --step retire", "when nobody uses the old ones"),
    ),
    "reload": (("bandstand reload", "read bandstand.toml anew"),),
    "policy explain": (
        ("bandstand policy explain order-service user-service", ""),
        ("bandstand policy explain order-service user-service --json", ""),
    ),
    "restart": (
        ("bandstand restart", "all services, one after the other"),
        ("bandstand restart order-service", "after a change of its code"),
    ),
    "exec": (
        ("bandstand exec user-service python manage.py shell", ""),
        ("bandstand exec user-service python manage.py test", ""),
        ("bandstand exec order-service env", "its variables, secrets too"),
    ),
}


def epilog(command: str = "") -> str:
    """Return the examples of a command, or of the program: a paragraph each, so that none is filled with the next."""
    lines = (f"{example:<35} {meaning}".rstrip() for example, meaning in _EXAMPLES[command])
    return "\n\n".join(["Examples:", *lines])
