"""Writes to a disk that may be full or broken: a failure is reported once, and the write is tried again."""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["PendingWrites"]

_PAUSE: Final = 1.0  # seconds between two attempts


class PendingWrites:
    """The files of a run that show how things are now, and could not be written yet.

    A write is a function that writes the newest content, so that a later attempt is never out of date. ``report`` is
    called with a sentence when the first one fails, and when none is pending any more.
    """

    def __init__(self, report: Callable[[str], None] = lambda _: None) -> None:
        self._report = report
        self._pending: dict[str, Callable[[], object]] = {}

    def attempt(self, name: str, write: Callable[[], object]) -> None:
        """Write now, and again later if that fails; ``name`` tells one file from another."""
        try:
            write()
        except OSError as error:
            if not self._pending:
                self._report(_failure(name, error))
            self._pending[name] = write
            return
        if self._pending.pop(name, None) is not None and not self._pending:
            self._report("The files of the run are up to date again.")

    def retry(self) -> None:
        """Try everything that is pending once more."""
        for name, write in list(self._pending.items()):
            self.attempt(name, write)

    async def keep_trying(self, pause: float = _PAUSE) -> None:
        """Try again every ``pause`` seconds, for ever."""
        while True:
            await asyncio.sleep(pause)
            self.retry()


def _failure(name: str, error: OSError) -> str:
    return (
        f"{error.filename or name} can't be written: {error.strerror}. The platform goes on, but `bandstand ps`, the "
        "registry and the gateway may be out of date until there is room; it is tried again every second."
    )
