"""A server that is up but does not work is noticed, and started anew when that lasts."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats
import pytest

from bandstand.workspace.export.envoy import GatewayRuntime
from bandstand.workspace.runtime.accounts import ADMINISTRATOR, Account
from bandstand.workspace.runtime.launcher import choose_account
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import File, NotReady, Plan, Process, Resource
from bandstand.workspace.runtime.servers.base import SILENCE, Place
from bandstand.workspace.runtime.servers.envoy import plan_envoy
from bandstand.workspace.runtime.servers.nats import NatsProbe, plan_nats
from bandstand.workspace.runtime.servers.postgres import Login, plan_postgres, prepare_folder
from bandstand.workspace.runtime.servers.rabbitmq import RabbitMqPorts, plan_rabbitmq
from bandstand.workspace.runtime.servers.redis import plan_redis
from bandstand.workspace.runtime.supervisor import Supervisor
from bandstand.workspace.runtime.wheels import find_envoy, find_nats, find_postgres, find_valkey
from tests.integration.optional.servers import require_rabbitmq
from tests.integration.runtime.supervised import Supervised
from tests.integration.servers import has_servers
from tests.namespaces import OWN_MOUNTS, require_mounts
from tests.ports import held_port
from tests.runtime.plans import workspace

pytestmark = [pytest.mark.integration, pytest.mark.fault]

Planned = tuple[list[Resource], list[File]]
ENVIRONMENT = {"PATH": os.environ["PATH"]}
BOSS = Account(service="", user=ADMINISTRATOR, password="x")


def supervised(name: str, planned: Planned) -> Supervised:
    """Supervise a server as `up` plans it; it is asked more often than by `up`."""
    resources, files = planned
    for file in files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.content)
    return Supervised(name, Plan(resources=tuple(map(_impatient, resources))))


def _impatient(resource: Resource) -> Resource:
    if not isinstance(resource, Process):
        return resource
    probe = msgspec.structs.replace(resource.probe, again=0.1, timeout=1.0)
    liveness = msgspec.structs.replace(resource.liveness, timeout=1.0)
    return msgspec.structs.replace(resource, probe=probe, liveness=liveness)


def postgres(place: Place) -> Planned:
    account = choose_account()
    prepare_folder(place.folder, account)
    administrator = Login(port=held_port(), user="postgres", password="x", database="postgres")
    return plan_postgres(
        place, binaries=find_postgres(), administrator=administrator, account=account, connections=20, exists=False
    )


def redis(place: Place) -> Planned:
    return plan_redis(place, binary=find_valkey(), port=held_port(), administrators=[BOSS], accounts=[])


def nats_server(place: Place, port: int = 0) -> Planned:
    return plan_nats(
        place,
        binary=find_nats(),
        port=port or held_port(),
        platform="shop",
        services=[],
        administrators=[BOSS],
        accounts=[],
    )


def rabbitmq(place: Place) -> Planned:
    ports = RabbitMqPorts(clients=held_port(), distribution=held_port(), mapper=held_port())
    return plan_rabbitmq(
        place,
        programs=require_rabbitmq(),
        ports=ports,
        platform="shop",
        services=[],
        administrators=[BOSS],
        accounts=[],
    )


def gateway(place: Place) -> Planned:
    runtime = GatewayRuntime(port=held_port(), admin_port=held_port(), xds_dir=place.folder)
    return plan_envoy(place, workspace=workspace(place.folder), runtime=runtime, binary=find_envoy())


def place(folder: Path) -> Place:
    has_servers()
    return Place(folder=folder, log=folder.with_name("server.log"), environment=ENVIRONMENT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("postgres", postgres),
        ("redis", redis),
        ("nats", nats_server),
        ("rabbitmq", rabbitmq),
        ("rabbitmq-epmd", rabbitmq),
        ("gateway", gateway),
    ],
)
def test_a_server_that_hangs_is_started_anew(folder: Path, name: str, plan: Callable[[Place], Planned]) -> None:
    """Stopped in its tracks with its port open, it is shown as unready soon, and replaced when that has lasted."""
    server = supervised(name, plan(place(folder)))

    async def work(supervisor: Supervisor) -> None:
        await server.reaches(Phase.READY)
        pid = supervisor.pid_of(name)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await server.reaches(Phase.UNREADY)
        await server.until(lambda: server.status.silences >= server.rules.policy.questions)
        server.clock.now += SILENCE - 1
        silences = server.status.silences
        await server.until(lambda: server.status.silences > silences)
        assert not server.status.killed_because, "it may still be a machine with much to do"
        server.clock.now += 1
        await server.reaches(Phase.READY, restarts=1)
        assert supervisor.pid_of(name) != pid

    server.run(work)


def test_a_server_that_was_only_slow_is_left_alone(folder: Path) -> None:
    """One reply, however late, begins the time anew."""
    server = supervised("nats", nats_server(place(folder)))

    async def work(supervisor: Supervisor) -> None:
        await server.reaches(Phase.READY)
        pid = supervisor.pid_of("nats")
        assert pid is not None
        for _ in range(2):
            os.kill(pid, signal.SIGSTOP)
            await server.until(lambda: server.status.silences >= server.rules.policy.questions)
            server.clock.now += SILENCE - 1
            os.kill(pid, signal.SIGCONT)
            await server.reaches(Phase.READY)
        assert (server.status.restarts, supervisor.pid_of("nats")) == (0, pid)

    server.run(work)


def test_nats_after_a_full_disk(folder: Path) -> None:
    """It answers, and takes no event any more even when there is room again: it says so, and is started anew."""
    require_mounts()
    port = held_port()
    resources, files = nats_server(place(folder), port)
    server = supervised("nats", ([_on_a_small_disk(each, folder) for each in resources], files))

    async def work(supervisor: Supervisor) -> None:
        await server.reaches(Phase.READY)
        assert await published(port, size=10)
        while await published(port, size=500_000):
            pass
        await server.reaches(Phase.UNREADY)
        assert "no space left on device" in server.status.reason
        pid = supervisor.pid_of("nats")
        (Path(f"/proc/{pid}/root") / folder.relative_to("/") / "filler").unlink()
        assert not await published(port, size=10), "NATS mends this itself now, and needs no restart"
        server.clock.now += SILENCE
        await server.reaches(Phase.READY, restarts=1)
        assert await published(port, size=10)

    server.run(work)


def _on_a_small_disk(resource: Resource, folder: Path) -> Resource:
    """The process sees a file system of its own in place of ``folder``, with a copy of what is in it."""
    if not isinstance(resource, Process):
        return resource
    words = "cp nats.json ../kept.json; mount -t tmpfs -o size=8m none . && cd . && cp ../kept.json nats.json && "
    words = f'{words} cd "$PWD" && head -c 5000000 /dev/zero > filler && exec "$0" "$@"'
    command = msgspec.structs.replace(
        resource.command, arguments=(*_found(OWN_MOUNTS), "/bin/sh", "-c", words, *resource.command.arguments)
    )
    return msgspec.structs.replace(resource, command=command)


def _found(words: tuple[str, ...]) -> tuple[str, ...]:
    return ("/usr/bin/env", *words)


async def published(port: int, *, size: int) -> bool:
    """Publish to a stream; return whether the server confirms it."""
    client = await nats.connect(f"nats://{ADMINISTRATOR}:x@127.0.0.1:{port}")
    try:
        stream = client.jetstream(timeout=1)
        await stream.add_stream(name="filler", subjects=["filler.>"])
        await stream.publish("filler.a", b"x" * size)
    except (TimeoutError, nats.js.errors.Error):
        return False
    finally:
        await client.close()
    return True


@pytest.mark.parametrize(("greeting", "reason"), [(b"", "closed the connection"), (b"220 mail\r\n", "NATS server")])
def test_a_stranger_is_no_nats(greeting: bytes, reason: str) -> None:
    """Whoever answers in its place, or closes the connection, is not ready, and the question is asked again."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await NatsProbe(port=port, administrator=BOSS).check()

    with pytest.raises(NotReady, match=reason):
        asyncio.run(ask())
