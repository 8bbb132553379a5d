"""NATS with JetStream: each service has a user that may publish only its own events."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bandstand.exceptions import BrokerError, ServerFailed
from bandstand.topology.nats import declare_streams, permissions
from bandstand.workspace.runtime.accounts import ADMINISTRATOR, Account
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import Action, File, NotReady, Probe, Process, Resource, Stage, Task
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place

__all__ = ["NatsProbe", "ReloadNats", "StreamsProbe", "authorization", "nats_url", "plan_nats"]

HEALTH: Final = "bandstand-health"
"""Name of the user who may ask for the server's health, in an account that holds no message of the platform."""
_SYSTEM_ACCOUNT: Final = "$SYS"
_HEALTHZ: Final = "PING.HEALTHZ"


def nats_url(account: Account, port: int) -> str:
    """Return the URL by which the one whom ``account`` belongs to connects."""
    return f"nats://{account.user}:{account.password}@{LOOPBACK}:{port}"


class NatsProbe(Probe, frozen=True, kw_only=True):
    """Ready when it says that it is healthy, with JetStream and all streams.

    A stream whose file could not be written, because the disk was full, takes no message until the server is started
    anew, also when there is room again: connections and PING say nothing of that.
    """

    port: int
    administrator: Account

    async def check(self) -> None:
        information, answer = await _ask(self.port, self.administrator, lambda _: _HEALTHZ)
        if not information.jetstream:
            raise NotReady("JetStream is not up yet")
        if answer.data.status != "ok":
            raise NotReady(answer.data.error or answer.data.status)


class StreamsProbe(NatsProbe, frozen=True, kw_only=True):
    """Ready when it also has the streams of the platform: those that are missing are declared by the administrator."""

    platform: str
    services: tuple[str, ...]

    async def check(self) -> None:
        await super().check()
        try:
            await declare_streams(nats_url(self.administrator, self.port), self.platform, self.services)
        except BrokerError as error:
            raise NotReady(str(error)) from error


class ReloadNats(Action, frozen=True, kw_only=True):
    """Reload the configuration of a running server. Connections of removed users end."""

    port: int
    administrator: Account

    async def perform(self) -> tuple[str, ...]:
        _, answer = await _ask(self.port, self.administrator, lambda information: f"{information.server_id}.RELOAD")
        if answer.error is not None:
            raise ServerFailed(f"NATS does not take its changed configuration: {answer.error.description}")
        return ()


class _Information(msgspec.Struct):
    """The INFO that a server sends to a new client (NATS client protocol)."""

    server_id: str
    jetstream: bool = False


class _Health(msgspec.Struct):
    status: str = ""
    error: str = ""


class _Error(msgspec.Struct):
    description: str = ""


class _Answer(msgspec.Struct):
    data: _Health = msgspec.field(default_factory=_Health)
    error: _Error | None = None


async def _ask(
    port: int, administrator: Account, request: Callable[[_Information], str]
) -> tuple[_Information, _Answer]:
    """Ask as the user of the system account who belongs to ``administrator``; return what the server says."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        information = _information(await reader.readline())
        user = _health_user(administrator)
        login = {"user": user.user, "pass": user.password, "verbose": False, "pedantic": False}
        writer.write(b"CONNECT " + msgspec.json.encode(login) + b"\r\nSUB _INBOX.health 1\r\n")
        writer.write(f"PUB $SYS.REQ.SERVER.{request(information)} _INBOX.health 0\r\n\r\n".encode())
        return information, await _message(reader)
    finally:
        writer.transport.abort()


def _information(line: bytes) -> _Information:
    try:
        return msgspec.json.decode(line.removeprefix(b"INFO "), type=_Information)
    except msgspec.MsgspecError as error:
        raise NotReady("it does not say that it is a NATS server" if line else "it closed the connection") from error


def _health_user(administrator: Account) -> Account:
    return msgspec.structs.replace(administrator, user=administrator.user.replace(ADMINISTRATOR, HEALTH))


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
    place: Place,
    *,
    binary: Path,
    port: int,
    platform: str,
    services: Iterable[str],
    administrators: Sequence[Account],
    accounts: Iterable[Account],
) -> tuple[list[Resource], list[File]]:
    """Plan the server; ``platform`` is the first part of every subject. Of ``administrators`` the first is in use."""
    administrator = administrators[0]
    path = place.folder / "nats.json"
    configuration = {
        "server_name": f"{platform}-1",
        "listen": f"{LOOPBACK}:{port}",
        "jetstream": {"store_dir": str(place.folder), "max_memory_store": 64 << 20, "max_file_store": 2 << 30},
        "authorization": authorization(platform, administrators, accounts),
        "accounts": {_SYSTEM_ACCOUNT: {"users": [_login(_health_user(each)) for each in administrators]}},
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
            administrator=administrator,
            platform=platform,
            services=tuple(services),
            again=PROBE_INTERVAL,
            timeout=PROBE_TIMEOUT,
        ),
        liveness=NatsProbe(port=port, administrator=administrator, timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=port,
        data=place.folder,
        stop_signal=signal.SIGTERM,
        after=(check.name,),
        reread=ReloadNats(port=port, administrator=administrator),
    )
    return [check, server], [File(path=path, content=content)]


def authorization(platform: str, administrators: Iterable[Account], accounts: Iterable[Account]) -> dict[str, Any]:
    """Return who may do what."""
    everything = {"publish": ">", "subscribe": ">"}
    return {
        "users": [
            *({**_login(each), "permissions": everything} for each in administrators),
            *({**_login(each), "permissions": permissions(platform, each.service)} for each in accounts),
        ]
    }


def _login(account: Account) -> dict[str, str]:
    return {"user": account.user, "password": account.password}
