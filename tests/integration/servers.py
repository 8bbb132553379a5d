"""PostgreSQL and NATS from the wheels, that a test can kill and start again with their data."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from bandstand.testing import require_server
from bandstand.topology.nats import declare_streams, inbox_prefix
from bandstand.workspace.runtime.environment import remove_libpq_variables
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.servers.postgres import clear_remains
from bandstand.workspace.runtime.wheels import find_nats, find_postgres
from tests.ports import give_back, held_port

SHIM = Path(__file__).parents[2] / "src" / "bandstand" / "workspace" / "runtime" / "shim.py"


# Benchmarks use these servers too: they are reached by their URLs alone, whatever is set in the shell.
remove_libpq_variables(os.environ)


def tied(command: Sequence[object], *, account: str = "self", when_orphaned: int = signal.SIGKILL) -> list[str]:
    """Return ``command`` so that its process ends with this one; start it from the main thread."""
    words = [str(word) for word in command]
    if sys.platform != "linux":
        return words
    return [sys.executable, "-S", "-E", str(SHIM), str(os.getpid()), str(int(when_orphaned)), account, *words]


class Server:
    """A server in a folder of its own. ``stop`` and ``kill`` leave the data, ``close`` removes it."""

    name = "server"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"bandstand-{self.name}-"))
        self.port = held_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while not self.is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{self.name} did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        self.end(signal.SIGINT)

    def close(self) -> None:
        self.kill()
        give_back(self.port)
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """Durable: what is committed survives ``kill``, and with ``fsync`` also the end of the machine."""

    name = "postgres"

    def __init__(self, *, fsync: bool = True) -> None:
        super().__init__()
        self.fsync = fsync
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        self.password = secrets.token_urlsafe(12)
        self.account = "namespace" if os.geteuid() == 0 else "self"
        self.binaries = find_postgres()
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        initdb = [self.binaries / "initdb", "-D", self.folder / "data", "-U", "postgres", "--encoding=UTF8"]
        auth = ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions"]
        auth += [] if fsync else ["--no-sync"]
        subprocess.run(tied(initdb + auth, account=self.account), check=True, capture_output=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def command(self) -> list[str]:
        options = {"listen_addresses": LOOPBACK, "unix_socket_directories": "", "max_connections": "200", "jit": "off"}
        options["fsync"] = "on" if self.fsync else "off"
        words: list[object] = [self.binaries / "postgres", "-D", self.folder / "data", "-p", self.port]
        for name, value in options.items():
            words += ["-c", f"{name}={value}"]
        return tied(words, account=self.account, when_orphaned=signal.SIGINT)

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str = "postgres", parameters: Sequence[Any] = ()) -> list[Any]:
        """Run ``statement`` on a connection that is kept: a test that waits asks often, and connecting is dear."""
        if database not in self._connections:
            self._connections[database] = psycopg.connect(self.url(database), autocommit=True)
        cursor = self._connections[database].execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def disconnect(self, *databases: str) -> None:
        """Close what ``execute`` keeps: for ``databases``, or all of it."""
        for database in databases or list(self._connections):
            if database in self._connections:
                self._connections.pop(database).close()

    def copy(self, template: str, name: str) -> None:
        self.disconnect(template)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def drop(self, name: str) -> None:
        self.disconnect(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def end(self, number: int) -> None:
        """Return when its sessions have ended too: one that waits for the disk outlives a killed server."""
        self.disconnect()
        super().end(number)
        clear_remains(self.folder / "data")


class Nats(Server):
    """JetStream; ``users`` may publish what the mapping says, and the administrator everything."""

    name = "nats"

    def __init__(self, users: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self.binary = find_nats()
        self.users = users or {}
        accounts: list[dict[str, Any]] = [
            {"user": "admin", "password": "admin", "permissions": {"publish": ">", "subscribe": ">"}}
        ]
        for user, subjects in self.users.items():
            rights = {"publish": {"allow": list(subjects)}, "subscribe": {"allow": [f"{inbox_prefix(user)}.>"]}}
            accounts.append({"user": user, "password": "pass word", "permissions": rights})
        configuration = {
            "listen": f"{LOOPBACK}:{self.port}",
            "jetstream": {"store_dir": str(self.folder)},
            "authorization": {"users": accounts},
        }
        (self.folder / "nats.json").write_text(json.dumps(configuration))

    def url(self, user: str = "admin") -> str:
        return f"nats://{user}:{'admin' if user == 'admin' else 'pass%20word'}@{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        return tied([self.binary, "-c", self.folder / "nats.json"])

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), 1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False

    def declare(self, platform: str, *services: str) -> None:
        """Declare the streams of a platform, as its administrator does."""
        asyncio.run(declare_streams(self.url(), platform, services))

    def jetstream(self, work: Any) -> Any:
        """Run the coroutine function ``work`` with a JetStream context of the administrator and return its result."""
        import nats

        async def run() -> Any:
            client = await nats.connect(self.url())
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())


def has_servers() -> None:
    """Skip (or fail, where they are required) without the wheels."""
    from bandstand.exceptions import ServerMissing

    for name, find in (("postgres", find_postgres), ("nats", find_nats)):
        try:
            find()
        except ServerMissing as error:
            require_server(name, found=False, how=error.hint)
