"""NATS with JetStream: each service has a user that may publish only its own events."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import File, NotReady, Probe, Process, Resource, Stage, Task
from bandstand.workspace.runtime.servers.base import Place

__all__ = ["NatsProbe", "NatsUser", "authorization", "plan_nats"]

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
    """Ready when it lets the administrator in, answers PING and has JetStream."""

    port: int
    password: str

    async def check(self) -> None:
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
        probe=NatsProbe(port=port, password=password),
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
    own_events, stream = f"{platform}.events.{user.name}.>", f"{platform}-events"
    return {
        "user": user.name,
        "password": user.password,
        "permissions": {
            "publish": {"allow": [own_events, *(f"$JS.{each}" for each in _jetstream(stream))]},
            "subscribe": {"allow": ["_INBOX.>"]},
        },
    }


def _jetstream(stream: str) -> list[str]:
    """What a service asks of JetStream. With all of ``$JS.API`` each could delete the stream that all share."""
    return [
        "API.INFO",
        f"API.STREAM.INFO.{stream}",
        f"API.STREAM.CREATE.{stream}",
        f"API.CONSUMER.CREATE.{stream}.>",
        f"API.CONSUMER.DURABLE.CREATE.{stream}.*",
        f"API.CONSUMER.INFO.{stream}.*",
        f"API.CONSUMER.MSG.NEXT.{stream}.*",
        "ACK.>",
    ]
