"""What the plans of all servers have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bandstand.workspace.runtime.resources import Account, Command

__all__ = ["ASKED_EVERY", "SILENCE", "Place"]

ASKED_EVERY: Final = 5.0
"""Seconds between two questions to a server that is ready."""
SILENCE: Final = 60.0
"""Seconds that a server may not work until it is started anew: longer than any pause of a busy machine."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server runs: its own folder, its log, and the environment of its commands."""

    folder: Path
    log: Path
    environment: Mapping[str, str]

    def command(self, program: Path, *arguments: str, account: Account = "self") -> Command:
        """Return the command that runs ``program`` in this place."""
        return Command(
            arguments=(str(program), *arguments), folder=self.folder, environment=self.environment, account=account
        )
