"""``file:///run/registry.json``: a list in a file that another process replaces by rename.

Looked at when it is asked for, at most once in an interval, so there is no thread that a fork could lose.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.base import Instance, Registry, base_url
from bandstand.discovery.metrics import measure
from bandstand.exceptions import ConfigurationError
from bandstand.structs import build_type

__all__ = ["FileRegistry"]

logger = logging.getLogger(__name__)

_VERSION: Final = 1

_Signature = tuple[int, int, int] | None


class _Entry(msgspec.Struct, frozen=True):
    id: str
    url: str


class _Document(msgspec.Struct, frozen=True):
    version: int
    services: dict[str, tuple[_Entry, ...]]


build_type(_Document)


class FileRegistry(Registry):
    """Keeps the last good list while the file is away or broken, and says so once in the log.

    The file: ``{"version": 1, "services": {"user-service": [{"id": "user-1", "url": "http://127.0.0.1:8001"}]}}``.
    ``interval`` is the least number of seconds between two looks at it while somebody serves what is asked for.

    Raises:
        ConfigurationError: the URL names no absolute path on this machine.
    """

    def __init__(self, url: str, *, interval: float = 0.2, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = _path(url)
        self._interval = interval
        self._clock = clock
        self._services: Mapping[str, tuple[Instance, ...]] = {}
        self._signature: _Signature = None
        self._trouble = ""
        self._good = clock()
        self._next_look = clock() + interval
        self._look()

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "FileRegistry":
        return cls(settings.url)

    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        now = self._clock()
        if now >= self._next_look:
            # No lock, which a fork could take along locked: two threads that look at once both see a good list, and
            # if the older of two lists is stored last, its signature differs from the file's at the next look.
            self._next_look = now + self._interval
            self._look()
        return self._services

    def look_up(self, service: str) -> tuple[Instance, ...] | None:
        """Whom nobody serves by the list in memory is looked for at once: it may have become ready a moment ago."""
        return super().look_up(service) or self._looked_again().get(service)

    def trouble(self) -> str:
        self.services()  # who makes no calls would not learn that the file is well again
        return self._trouble

    def age(self) -> float:
        return self._clock() - self._good

    def _looked_again(self) -> Mapping[str, tuple[Instance, ...]]:
        self._next_look = 0.0
        return self.services()

    def _look(self) -> None:
        try:
            if self._signature is None or _signature(os.stat(self._path)) != self._signature:  # noqa: PTH116 - hot path
                self._read()
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            self._report(f"The registry {self._path} can't be read: {error}.")
        else:
            self._good = self._clock()
            self._report("")

    def _read(self) -> None:
        with self._path.open("rb") as file:
            # The signature of what is read, not of what may have taken its place meanwhile.
            signature = _signature(os.fstat(file.fileno()))
            document = msgspec.json.decode(file.read(), type=_Document)
        if document.version != _VERSION:
            raise ValueError(f"it is of version {document.version}, and this program reads version {_VERSION}")
        before = self._services
        self._services = {service: _instances(entries) for service, entries in document.services.items()}
        self._signature = signature
        for service in self._services.keys() - before.keys():
            measure(service, age=self._age_now, healthy=partial(self._count, service))

    def _age_now(self) -> float:
        self.services()  # without calls nobody else looks, and a list that is good would seem to get older
        return self.age()

    def _count(self, service: str) -> int:
        return len(self._services.get(service, ()))

    def _report(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.warning("%s The last good list stays in use (%d services).", trouble, len(self._services))
        elif self._trouble and not trouble:
            logger.info("The registry %s is readable again.", self._path)
        self._trouble = trouble


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigurationError(
            f"DISCOVERY_URL is {url!r}; write file:// and an absolute path: file:///path/registry.json"
        )
    return Path(unquote(parts.path))


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _instances(entries: tuple[_Entry, ...]) -> tuple[Instance, ...]:
    return tuple(Instance(id=entry.id, url=base_url(entry.url)) for entry in entries)
