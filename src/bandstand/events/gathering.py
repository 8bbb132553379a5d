"""Batches: what comes for a handler that takes many events at once gathers until a thread is free for it.

There is no time to wait for: a batch is what came while the one before it was handled. So a quiet subscription handles
each event at once, and a busy one handles many together.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Generic, TypeVar
from zlib import crc32

from bandstand.events.lanes import Lanes

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(Generic[T]):
    """What has gathered for one subscription, in ``parts`` that may be handled at once.

    All events of a key are in one part, and a part is a lane, so that they are handled in order.
    """

    def __init__(self, lanes: Lanes, group: str, *, size: int, parts: int, handle: Callable[[list[T]], None]) -> None:
        self._lanes = lanes
        self._group = group
        self._size = size
        self._handle = handle
        self._lock = Lock()
        self._gathered: list[deque[T]] = [deque() for _ in range(parts)]
        self._called: list[bool] = [False] * parts

    def add(self, key: str, item: T) -> None:
        """Let ``item`` be handled with others, after what was added before it with its ``key``."""
        part = crc32(key.encode()) % len(self._gathered)
        with self._lock:
            self._gathered[part].append(item)
            called, self._called[part] = self._called[part], True
        if not called:
            self._call(part)

    def _call(self, part: int) -> None:
        self._lanes.submit(self._group, str(part), partial(self._work, part))

    def _work(self, part: int) -> None:
        gathered = self._gathered[part]
        with self._lock:
            batch = [gathered.popleft() for _ in range(min(self._size, len(gathered)))]
        try:
            self._handle(batch)
        finally:
            with self._lock:
                self._called[part] = more = bool(gathered)
            if more:
                self._call(part)
