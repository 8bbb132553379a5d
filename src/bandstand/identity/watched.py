"""A file that is read again when it changes on disk, so that keys rotate without a restart."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from bandstand.exceptions import ConfigurationError

__all__ = ["WatchedFile"]

T = TypeVar("T")

_logger: Final = logging.getLogger(__name__)


class WatchedFile(Generic[T]):
    """The parsed content of a file, looked after at most once in ``interval`` seconds.

    A file that goes away or breaks after it was read once changes nothing: the last good content stays, and the fault
    is logged once. ``parse`` turns bytes into the content and raises ValueError; ``variable`` names the environment
    variable that holds the path, for the texts.
    """

    def __init__(
        self,
        path: str,
        parse: Callable[[bytes], T],
        *,
        variable: str,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 1.0,
    ) -> None:
        self._path = Path(path)
        self._parse = parse
        self._variable = variable
        self._clock = clock
        self._interval = interval
        self._next_look = 0.0
        self._seen: tuple[int, ...] = ()
        self._loaded: tuple[T] | None = None  # a tuple, so that content which is falsy or None counts as loaded
        self._fault = ""

    def get(self) -> T:
        """Return the content.

        Raises:
            ConfigurationError: the file could not be read yet.
        """
        loaded = self._loaded
        if loaded is None:
            return self._read()
        now = self._clock()
        if now < self._next_look:
            return loaded[0]
        self._next_look = now + self._interval
        try:
            return self._read()
        except ConfigurationError as error:
            self._tell_once(str(error))
            return loaded[0]

    def _read(self) -> T:
        try:
            # Taken before reading: a change while we read is then seen at the next look.
            signature = self._signature()
            if self._loaded is not None and signature == self._seen:
                return self._loaded[0]
            content = self._parse(self._path.read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"{self._variable} names {self._path}, which can't be read: {error.strerror}. "
                f"Write the file, or correct the variable."
            ) from error
        except ValueError as error:
            raise ConfigurationError(f"{self._variable} names {self._path}, which {error}.") from error
        self._seen, self._loaded, self._fault = signature, (content,), ""
        return content

    def _tell_once(self, fault: str) -> None:
        if self._fault != fault:
            self._fault = fault
            _logger.error("The last good content stays in use: %s", fault)

    def _signature(self) -> tuple[int, ...]:
        """What changes when the file is written, replaced by rename, or mounted anew."""
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
