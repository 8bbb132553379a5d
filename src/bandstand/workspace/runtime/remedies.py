"""Remedies for errors of a service's commands that depend on the servers of the platform."""

import re
from typing import Final

import msgspec

from bandstand.workspace.manifest import Server

__all__ = ["Remedy", "remedies"]

# PostgreSQL 15 and later; then 14.
_EXTENSION: Final = r'extension "(?P<name>[^"]+)" is not available|extension/(?P<file>[^/"]+)\.control": No such file'
_CONTRIB: Final = "on Debian or Ubuntu, apt-get install postgresql postgresql-contrib"


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """The remedy for a line of output that matches the regular expression ``error``."""

    error: str
    advice: str

    def find(self, lines: list[str]) -> str | None:
        """Return the advice if one of ``lines`` has the error, with the name of what was missing."""
        found = next(filter(None, (re.search(self.error, line) for line in lines)), None)
        if found is None:
            return None
        return self.advice.format(name=next(filter(None, found.groups()), ""))


def remedies(postgres: Server) -> tuple[Remedy, ...]:
    """Return what to do about errors of a service's migrations on ``postgres``."""
    return (Remedy(error=_EXTENSION, advice=_extension_advice(postgres)),)


def _extension_advice(postgres: Server) -> str:
    if postgres.is_external:
        return 'That PostgreSQL has no extension "{name}": install it there, or ask whoever runs that server.'
    if postgres.system:
        return (
            'The PostgreSQL of this machine has no extension "{name}": install the package that carries it '
            "(on Debian or Ubuntu postgresql-contrib, or one of its own such as postgresql-16-pgvector)."
        )
    return (
        'The embedded PostgreSQL has no extension "{name}": write postgres = "system" under [servers] in '
        f"bandstand.toml to use the PostgreSQL of this machine, and install that with its extensions ({_CONTRIB})."
    )
