"""What the plans of all servers have in common."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bandstand.workspace.runtime.resources import Account, Command

__all__ = ["Place"]


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
