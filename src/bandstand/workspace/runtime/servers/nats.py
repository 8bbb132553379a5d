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
from bandstand.workspace.runtime.servers.base import Place

__all__ = ["ADMINISTRATOR", "NatsProbe", "NatsUser", "authorization", "plan_nats"]

ADMINISTRATOR: Final = "bandstand"


class NatsUser(msgspec.Struct, frozen=True, kw_only=True):
    """A service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"NatsUser({self.name!r})"

    def url(self, port: int) -> str:
        return f"nats://{self.name}:{self.password}@{LOOPBACK}:{port}"


class NatsProbe(Probe, frozen=True, kw_only=True):
    """Ready when it lets the administrator in, answers PING, and has JetStream with the streams of the platform.

    Those that are missing are made, so nobody but the administrator has to be able to.
    """

    port: int
    password: str
    platform: str
    services: tuple[str, ...]

    async def check(self) -> None:
        await self._greet()
        administrator = NatsUser(name=ADMINISTRATOR, password=self.password)
        try:
            await declare_streams(administrator.url(self.port), self.platform, self.services)
        except BrokerError as error:
            raise NotReady(str(error)) from error

    async def _greet(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            information = await reader.readline()
            login = {"user": ADMINISTRATOR, "pass": self.password, "verbose": False, "pedantic": False}
            writer.write(b"CONNECT " + msgspec.json.encode(login) + b"\r\nPING\r\n")
            answer = await reader.readline()
        finally:
            writer.transport.abort()
        if answer != b"PONG\r\n":
            raise NotReady(answer.decode(errors="replace").strip() or "it closed the connection")
        if not msgspec.json.decode(information.removeprefix(b"INFO ")).get("jetstream"):
            raise NotReady("JetStream is not up yet")


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
        probe=NatsProbe(port=port, password=password, platform=platform, services=tuple(user.name for user in users)),
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
