"""A PostgreSQL of its own for one test run, on a free loopback port, in a temporary folder."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import psycopg

from bandstand.exceptions import ServerFailed
from bandstand.workspace.runtime.launcher import has_name
from bandstand.workspace.runtime.ports import LOOPBACK, Reservations, free_port
from bandstand.workspace.runtime.wheels import find_postgres

__all__ = ["EphemeralPostgres"]

_START_TIMEOUT: Final = 30.0  # seconds
_STOP_TIMEOUT: Final = 10.0
# The data is thrown away at the end, so nothing need survive a power loss. Everything else is as in production.
_THROW_AWAY: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class EphemeralPostgres:
    """Starts on entering and ends on leaving a ``with`` block; ends too when this process is killed (on Linux).

    ``binaries`` is the folder of PostgreSQL's programs; those of the wheel unless given.
    ``url`` is what ``DATABASE_URL`` takes. The role may create databases, as Django's test runner does.

    Raises:
        ServerMissing: the wheel is not installed.
        ServerFailed: it did not start; the text ends with its log.
    """

    def __init__(self, binaries: Path | None = None) -> None:
        self._binaries = binaries
        self.port = 0
        self.password = secrets.token_urlsafe(16)
        self._ports = Reservations()  # so that of test runs at once no two choose the same
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the administrator's database."""
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.port}/postgres"

    def __enter__(self) -> "EphemeralPostgres":
        binaries = self._binaries or find_postgres()
        self._folder = Path(tempfile.mkdtemp(prefix="bandstand-postgres-"))
        self.port = free_port(free=self._ports.take)
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        data = self._folder / "data"
        log = (self._folder / "log").open("wb")
        with log:
            initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
            auth = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions", "--no-sync"]
            subprocess.run(_prepared(initdb + auth), check=True, stdout=log, stderr=log)
            listen = ["-c", f"listen_addresses={LOOPBACK}", "-p", self.port, "-c", "unix_socket_directories="]
            server = [binaries / "postgres", "-D", data, *listen, "-c", "max_connections=100", *_THROW_AWAY]
            self._process = subprocess.Popen(_prepared(server), stdout=log, stderr=log, start_new_session=True)
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None:
            process.send_signal(signal.SIGINT)  # the "fast" shutdown
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT)
            process.kill()
            process.wait()
        self._ports.release(self.port)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if (self._process and self._process.poll() is not None) or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text(errors="replace")
                    raise ServerFailed(f"PostgreSQL for the tests did not start:\n{log[-2000:]}") from None
                time.sleep(0.01)
            else:
                return


def _prepared(command: list[object]) -> list[str]:
    """Return ``command`` behind the shim that lets root start PostgreSQL and ends it with this process (on Linux)."""
    words = [str(word) for word in command]
    if sys.platform != "linux":
        return words
    account = "namespace" if os.geteuid() == 0 or not has_name(os.geteuid()) else "self"
    return [sys.executable, "-S", "-E", str(_SHIM), str(os.getpid()), str(int(signal.SIGINT)), account, *words]


_SHIM: Final = Path(__file__).parents[1] / "workspace" / "runtime" / "shim.py"
