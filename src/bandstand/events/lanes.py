"""Threads for handlers: events of one key one after the other, and no subscription can take all threads."""

import logging
from collections import deque
from collections.abc import Callable
from threading import Condition, Lock, Thread
from time import monotonic
from typing import Final

__all__ = ["Lanes"]

logger: Final = logging.getLogger(__name__)

Job = Callable[[], None]
Lane = tuple[str, str]
"""A group and a key in it."""


class Lanes:
    """Runs jobs on ``threads`` threads.

    Jobs of one lane run one after the other, in the order of their submission. Groups take turns; as soon as there
    are two of them, each leaves one thread free for the others. ``leave`` runs on each thread before it ends.
    """

    def __init__(self, threads: int, leave: Callable[[], None]) -> None:
        self._leave = leave
        lock = Lock()
        self._changed = Condition(lock)
        self._drained = Condition(lock)
        self._ready: dict[str, deque[tuple[str, Job]]] = {}  # group -> jobs whose lane is free, with their keys
        self._running: dict[str, int] = {}  # group -> jobs that run
        self._behind: dict[Lane, deque[Job]] = {}  # lanes in use -> jobs that wait for them
        self._closed = False
        self._threads = [Thread(target=self._work, name=f"bandstand-handler-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def is_alive(self) -> bool:
        """Return whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def submit(self, group: str, key: str, job: Job) -> None:
        """Run ``job`` when a thread is free and all jobs submitted before it to the lane are done."""
        with self._changed:
            self._ready.setdefault(group, deque())
            behind = self._behind.get((group, key))
            if behind is not None:
                behind.append(job)
                return
            self._behind[group, key] = deque()
            self._ready[group].append((key, job))
            self._changed.notify()

    def drain(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for all jobs to be done; say whether they are."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._behind:
                left = deadline - monotonic()
                if left <= 0:
                    return False
                self._drained.wait(left)
        return True

    def close(self) -> None:
        """Begin no more jobs; the threads end when their present job does."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            group, key, job = taken
            try:
                job()
            except BaseException:  # whatever it is, the thread has to serve others
                logger.exception("A job failed that must not")
            finally:
                self._done(group, key)
        self._leave()

    def _take(self) -> tuple[str, str, Job] | None:
        with self._changed:
            while not self._closed:
                group = self._next_group()
                if group is not None:
                    key, job = self._ready[group].popleft()
                    self._running[group] = self._running.get(group, 0) + 1
                    return group, key, job
                self._changed.wait()
        return None

    def _next_group(self) -> str | None:
        """The first group that may run, which then goes to the end of the row."""
        limit = len(self._threads) if len(self._ready) == 1 else max(1, len(self._threads) - 1)
        for group, jobs in self._ready.items():
            if jobs and self._running.get(group, 0) < limit:
                self._ready[group] = self._ready.pop(group)
                return group
        return None

    def _done(self, group: str, key: str) -> None:
        with self._changed:
            self._running[group] -= 1
            behind = self._behind[group, key]
            if behind:
                self._ready[group].append((key, behind.popleft()))
            else:
                del self._behind[group, key]
            # This thread takes a job next; another one is woken only if there is more, or all would wake each time.
            if any(self._ready.values()):
                self._changed.notify()
            elif not self._behind:
                self._drained.notify_all()
