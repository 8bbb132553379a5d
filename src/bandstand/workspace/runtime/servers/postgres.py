"""PostgreSQL: one cluster for all services; what is in it is made by ``databases.py``."""

import os
import shutil
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
import psutil

from bandstand.exceptions import ServerFailed
from bandstand.workspace.postgres_logging import LOG_SETTINGS
from bandstand.workspace.runtime.origin import works_at
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import ReplyProbe
from bandstand.workspace.runtime.resources import (
    Account,
    Action,
    File,
    NotReady,
    Probe,
    Process,
    Resource,
    Stage,
    Task,
)
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place

__all__ = [
    "Login",
    "MoveFolder",
    "PostgresProbe",
    "clear_remains",
    "plan_postgres",
    "prepare_folder",
]

_NOBODY: Final = 65534
# Small and quick for a developer's machine; durability is not traded away (fsync and synchronous_commit stay on).
_TUNING: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a path in a deep folder would be too long for a socket
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum_naptime": "30s",
    "max_parallel_workers": "2",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m %u@%d ",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    **LOG_SETTINGS,
}

_SSL_REQUEST: Final = pack(">II", 8, 80_877_103)  # every server has an answer of one byte to it, also a full one


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who connects to which database, and where; ``query`` is a URL's, as ``sslmode=verify-full``."""

    host: str = LOOPBACK
    port: int
    user: str
    password: str
    database: str
    query: str = ""

    def __repr__(self) -> str:
        return f"Login({self.user}@{self.host}:{self.port}/{self.database})"

    @classmethod
    def parse(cls, url: str) -> "Login":
        """Read the URL of a server that exists, with the role that may make roles and databases."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or LOOPBACK,
            port=parts.port or 5432,
            user=unquote(parts.username or "postgres"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or "postgres",
            query=parts.query,
        )

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@{host}:{self.port}"
        return f"postgres://{place}/{quote(self.database, safe='')}" + (f"?{self.query}" if self.query else "")

    async def connect(self) -> Any:
        """Return an asynchronous psycopg connection in autocommit mode."""
        from psycopg import AsyncConnection  # noqa: PLC0415 - a driver, imported when it is needed

        options: dict[str, Any] = {"connect_timeout": 5, **dict(parse_qsl(self.query))}
        return await AsyncConnection.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            autocommit=True,
            **options,
        )


class PostgresProbe(Probe, frozen=True, kw_only=True):
    """Ready when the superuser can open a connection."""

    login: Login

    async def check(self) -> None:
        from psycopg import OperationalError  # noqa: PLC0415 - a driver, imported when it is needed

        try:
            connection = await self.login.connect()
        except OperationalError as error:
            raise NotReady(str(error).strip().replace("\n", " ")) from error
        await connection.close()


def plan_postgres(
    place: Place, *, binaries: Path, administrator: Login, account: Account, connections: int, exists: bool
) -> tuple[list[Resource], list[File]]:
    """Plan the cluster in the folder ``data`` of ``place``, making it first when it is not there (``exists``).

    ``connections`` is how many the services may open together.
    """
    data, fresh, password_file = (place.folder / name for name in ("data", "data.new", "password"))
    settings = {**_TUNING, "port": str(administrator.port), "max_connections": str(connections)}
    server = Process(
        name="postgres",
        label="PostgreSQL",
        stage=Stage.SERVER,
        command=place.command(binaries / "postgres", "-D", str(data), *_options(settings), account=account),
        log=place.log,
        probe=PostgresProbe(login=administrator, again=PROBE_INTERVAL, timeout=PROBE_TIMEOUT),
        liveness=ReplyProbe(port=administrator.port, question=_SSL_REQUEST, timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=administrator.port,
        data=data,
        stop_signal=signal.SIGINT,  # the "fast" shutdown: open sessions are rolled back
        after=() if exists else ("postgres-init",),
    )
    if exists:
        return [server], []
    init = Task(
        name="postgres-init",
        label="PostgreSQL: make the cluster",
        stage=Stage.TASK,
        command=place.command(
            binaries / "initdb",
            *("-D", str(fresh), "-U", administrator.user, "--encoding=UTF8", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions"),
            account=account,
        ),
        log=place.log,
        then=MoveFolder(source=fresh, target=data, remove=password_file),
    )
    return [init, server], [File(path=password_file, content=administrator.password)]


def _options(settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        yield "-c"
        yield f"{name}={value}"


class MoveFolder(Action, frozen=True, kw_only=True):
    """Put a finished folder in its place, so that an interrupted command never leaves half of it there."""

    source: Path
    target: Path
    remove: Path

    async def perform(self) -> tuple[str, ...]:
        self.source.rename(self.target)
        self.remove.unlink(missing_ok=True)
        return ()


def prepare_folder(folder: Path, account: Account) -> None:
    """Remove what an interrupted initdb left, and give the folder to the account that PostgreSQL runs as.

    In a user namespace that is still root, and an earlier run may have been as nobody, or the other way round.
    """
    shutil.rmtree(folder / "data.new", ignore_errors=True)
    owner = _NOBODY if account == "nobody" else os.geteuid()
    if folder.stat().st_uid != owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)


def clear_remains(data: Path, *, grace: float = 10.0) -> tuple[int, ...]:
    """Remove what a killed server left in the way of the next on the folder ``data``; return whom it ended.

    A session that waits for the disk does not see at once that its server died, and keeps the shared memory. And the
    lock file counts as long as any process has the id in it: a zombie that nobody reaps, or a stranger after a reboot.
    A server that runs is left alone. PostgreSQL makes its data folder the working directory of all its processes.

    Raises:
        ServerFailed: sessions are still there after ``grace`` seconds.
    """
    data, lock = data.resolve(), data / "postmaster.pid"
    try:
        server, _, _ = lock.read_text().partition("\n")
    except FileNotFoundError:  # a server that ended in peace left nothing
        return ()
    members = {str(process.pid): process for process in psutil.process_iter() if works_at(process, data)}
    if server in members:
        return ()
    _end(members.values(), data, grace)
    lock.unlink(missing_ok=True)
    return tuple(process.pid for process in members.values())


def _end(orphans: Collection[psutil.Process], data: Path, grace: float) -> None:
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + grace
    while left := [process for process in orphans if works_at(process, data)]:
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"PostgreSQL can't start on {data}: of an earlier server, which was killed, "
                f"process {', '.join(str(process.pid) for process in left)} still does not end.",
                hint="It most likely waits for the disk. Start again when it is gone.",
            )
        time.sleep(0.01)
