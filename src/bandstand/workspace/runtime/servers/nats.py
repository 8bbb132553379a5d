"""NATS with JetStream: each service has a user that may publish only its own events."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from bandstand.exceptions import BrokerError
from bandstand.topology.nats import declare_streams, permissions
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import File, NotReady, Probe, Process, Resource, Stage, Task
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place

__all__ = ["ADMINISTRATOR", "NatsProbe", "NatsUser", "StreamsProbe", "authorization", "plan_nats"]

ADMINISTRATOR: Final = "bandstand"
HEALTH: Final = "bandstand-health"
"""Name of the user who may ask for the server's health, in an account that holds no message of the platform."""
_SYSTEM_ACCOUNT: Final = "$SYS"
_QUESTION: Final = b"SUB _INBOX.health 1\r\nPUB $SYS.REQ.SERVER.PING.HEALTHZ _INBOX.health 0\r\n\r\n"


class NatsUser(msgspec.Struct, frozen=True, kw_only=True):
    """A service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"NatsUser({self.name!r})"

    def url(self, port: int) -> str:
        return f"nats://{self.name}:{self.password}@{LOOPBACK}:{port}"


class NatsProbe(Probe, frozen=True, kw_only=True):
    """Ready when it says that it is healthy, with JetStream and all streams.

    A stream whose file could not be written, because the disk was full, takes no message until the server is started
    anew, also when there is room again: connections and PING say nothing of that.
    """

    port: int
    password: str

    async def check(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            information = await reader.readline()
            login = {"user": HEALTH, "pass": self.password, "verbose": False, "pedantic": False}
            writer.write(b"CONNECT " + msgspec.json.encode(login) + b"\r\n" + _QUESTION)
            answer = await _message(reader)
        finally:
            writer.transport.abort()
        if not msgspec.json.decode(information.removeprefix(b"INFO ")).get("jetstream"):
            raise NotReady("JetStream is not up yet")
        if answer.data.status != "ok":
            raise NotReady(answer.data.error or answer.data.status)


class StreamsProbe(NatsProbe, frozen=True, kw_only=True):
    """Ready when it also has the streams of the platform: those that are missing are declared by the administrator."""

    platform: str
    services: tuple[str, ...]

    async def check(self) -> None:
        await super().check()
        administrator = NatsUser(name=ADMINISTRATOR, password=self.password)
        try:
            await declare_streams(administrator.url(self.port), self.platform, self.services)
        except BrokerError as error:
            raise NotReady(str(error)) from error


class _Health(msgspec.Struct):
    status: str
    error: str = ""


class _Answer(msgspec.Struct):
    data: _Health


async def _message(reader: asyncio.StreamReader) -> _Answer:
    """Return the one message that comes, past what the server says besides (NATS client protocol)."""
    while line := await reader.readline():
        match line.split():
            case [b"MSG", *_, size]:
                return msgspec.json.decode(await reader.readexactly(int(size)), type=_Answer)
            case [b"-ERR", *_]:
                raise NotReady(line.decode(errors="replace").strip())
    raise NotReady("it closed the connection")


def plan_nats(
    place: Place, *, binary: Path, port: int, platform: str, password: str, users: Iterable[NatsUser]
) -> tuple[list[Resource], list[File]]:
    """Plan the server; ``platform`` is the first part of every subject, ``password`` is the administrator's."""
    users = tuple(users)
    path = place.folder / "nats.json"
    configuration = {
        "server_name": f"{platform}-1",
        "listen": f"{LOOPBACK}:{port}",
        "jetstream": {"store_dir": str(place.folder), "max_memory_store": 64 << 20, "max_file_store": 2 << 30},
        "authorization": authorization(platform, password, users),
        "accounts": {_SYSTEM_ACCOUNT: {"users": [{"user": HEALTH, "password": password}]}},
        "max_payload": 1 << 20,
        "lame_duck_duration": "30s",
    }
    # NATS' own format is a superset of JSON, so nothing needs quoting rules of its own.
    content = msgspec.json.format(msgspec.json.encode(configuration)).decode()
    check = Task(
        name="nats-check",
        label="NATS: check the configuration",
        stage=Stage.TASK,
        command=place.command(binary, "-c", str(path), "-t"),
        log=place.log,
    )
    server = Process(
        name="nats",
        label="NATS",
        stage=Stage.SERVER,
        command=place.command(binary, "-c", str(path)),
        log=place.log,
        probe=StreamsProbe(
            port=port,
            password=password,
            platform=platform,
            services=tuple(user.name for user in users),
            again=PROBE_INTERVAL,
            timeout=PROBE_TIMEOUT,
        ),
        liveness=NatsProbe(port=port, password=password, timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=port,
        data=place.folder,
        stop_signal=signal.SIGTERM,
        after=(check.name,),
    )
    return [check, server], [File(path=path, content=content)]


def authorization(platform: str, password: str, users: Iterable[NatsUser]) -> dict[str, Any]:
    """Return who may do what; ``password`` is the administrator's."""
    return {"users": [_administrator(password), *(_user(platform, user) for user in users)]}


def _administrator(password: str) -> dict[str, Any]:
    return {"user": ADMINISTRATOR, "password": password, "permissions": {"publish": ">", "subscribe": ">"}}


def _user(platform: str, user: NatsUser) -> dict[str, Any]:
    return {"user": user.name, "password": user.password, "permissions": permissions(platform, user.name)}
