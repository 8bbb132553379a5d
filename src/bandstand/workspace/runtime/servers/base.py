"""What the plans of all servers have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bandstand.workspace.runtime.resources import Account, Command

__all__ = ["PROBE_INTERVAL", "PROBE_TIMEOUT", "SILENCE", "Place"]

PROBE_INTERVAL: Final = 5.0
"""Seconds between two probes of a server that is ready."""
PROBE_TIMEOUT: Final = 10.0
"""Seconds for one probe; long, since a server that is only slow must not be started anew."""
SILENCE: Final = 60.0
"""Seconds without a good answer after which a server is started anew: longer than any pause of a busy machine."""


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
