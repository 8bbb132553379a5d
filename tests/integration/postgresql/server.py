"""A PostgreSQL that tests may kill, stop and start again."""

import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer

import psutil

from bandstand.testing import EphemeralPostgres
from bandstand.workspace.runtime.servers.postgres import clear_remains
from tests.waiting import GUARD


class RestartablePostgres(EphemeralPostgres):
    """Keeps its port and data over a restart."""

    def kill(self) -> None:
        """End it without a chance to say goodbye, and then what is left of its sessions."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        clear_remains(self._folder / "data")

    def start(self, *extra: str) -> None:
        """Start it again, with more of its settings if given."""
        assert self._process is not None
        command = [*self._process.args, *extra]  # type: ignore[misc]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop all its processes, as an overloaded machine does, and let them go on: after the guard at the latest."""
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        family = [root, *root.children(recursive=True)]
        guard = Timer(GUARD, _send, (family, signal.SIGCONT))
        guard.start()
        _send(family, signal.SIGSTOP)
        try:
            yield
        finally:
            guard.cancel()
            _send(family, signal.SIGCONT)


def _send(family: Iterable[psutil.Process], number: int) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):  # it was ending, and its parent has noticed meanwhile
            process.send_signal(number)
