"""RabbitMQ from the machine's own package: each service has a user that reaches only what bears its name.

Two processes: the server, and Erlang's port mapper (epmd). Erlang starts one by itself where there is none, in a
session of its own, which then outlives everything; so it gets one of ours, and is told to start no other.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import pack
from typing import Final

import msgspec

from bandstand.exceptions import BrokerError, ConfigurationError, ServerFailed
from bandstand.topology.rabbitmq import declare_exchanges
from bandstand.workspace.runtime.accounts import Account
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import ReplyProbe
from bandstand.workspace.runtime.resources import Action, Command, File, NotReady, Probe, Process, Resource, Stage
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place
from bandstand.workspace.runtime.servers.definitions import definitions, rabbitmq_url
from bandstand.workspace.runtime.system import RabbitMqPrograms

__all__ = ["PORT_MAPPER", "ImportDefinitions", "RabbitMqPorts", "RabbitMqProbe", "plan_rabbitmq"]

PORT_MAPPER: Final = "rabbitmq-epmd"

_NODE: Final = "bandstand@localhost"
_PROTOCOL: Final = b"AMQP\x00\x00\x09\x01"
_CONFIGURATION: Final = """\
listeners.tcp.1 = {host}:{port}
load_definitions = definitions.json
log.console = true
log.file = false
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 512MB
"""
# On this machine only, also for other Erlang nodes; no busy waiting of idle schedulers. What the server notes of new
# queues (Ra's names.dets) Erlang writes to the file three seconds later: a server that is killed before that forgets
# what it confirmed, and its first stream never comes back (3.10.8). So it is told to write ten times a second.
_ERLANG: Final = (
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none -noinput "
    "-eval spawn(fun()->F=fun(G)->timer:sleep(100),[dets:sync(T)||T<-dets:all()],G(G)end,F(F)end)."
)
_WRITTEN: Final = 0.5  # seconds after which a new archive is on the disk, for the reason above


class RabbitMqPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients connect, where Erlang nodes would, and where these ask for the latter."""

    clients: int
    distribution: int
    mapper: int


class RabbitMqProbe(Probe, frozen=True, kw_only=True):
    """Ready when it has the exchanges of the platform: those that are missing are declared by the administrator."""

    port: int
    administrator: Account
    platform: str
    services: tuple[str, ...]

    async def check(self) -> None:
        url = rabbitmq_url(self.administrator, self.port)
        try:
            missing = await declare_exchanges(url, self.platform, self.services)
        except (BrokerError, ConfigurationError) as error:
            raise NotReady(str(error)) from error
        if missing:
            await asyncio.sleep(_WRITTEN)


class ImportDefinitions(Action, frozen=True, kw_only=True):
    """Import the definitions into a running server by its own tool, and close the connections of users ``gone``."""

    tool: Command
    gone: tuple[str, ...]
    file: Path

    async def perform(self) -> tuple[str, ...]:
        await self._run("import_definitions", str(self.file), "--format", "json")
        for user in self.gone:
            await self._run("close_all_user_connections", user, "its password is not accepted any more")
        return ()

    async def _run(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.tool.arguments,
            *arguments,
            cwd=self.tool.folder,
            env=dict(self.tool.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            text = output.decode(errors="replace").strip()
            raise ServerFailed(f"RabbitMQ does not take its changed users (rabbitmqctl {arguments[0]}): {text}")


class PortMapperProbe(Probe, frozen=True, kw_only=True):
    """Ready when it answers the question for names (Erlang distribution protocol, NAMES_REQ)."""

    port: int

    async def check(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(b"\0\x01n")
            if await reader.readexactly(4) != pack(">I", self.port):
                raise NotReady("something else answers there")
        except asyncio.IncompleteReadError as error:
            raise NotReady("it closed the connection") from error
        finally:
            writer.transport.abort()


def plan_rabbitmq(
    place: Place,
    *,
    programs: RabbitMqPrograms,
    ports: RabbitMqPorts,
    platform: str,
    services: Iterable[str],
    administrators: Sequence[Account],
    accounts: Iterable[Account],
    options: str = "",
) -> tuple[list[Resource], list[File]]:
    """Plan the server and its port mapper.

    ``platform`` is the first part of every name, ``options`` more lines for the configuration. Of ``administrators``
    the first is in use.
    """
    folder = place.folder
    environment = {**place.environment, **_environment(folder, ports)}
    place = msgspec.structs.replace(place, environment=environment)
    configuration = _CONFIGURATION.format(host=LOOPBACK, port=ports.clients)
    rights = definitions(platform, administrators, accounts)
    known = msgspec.json.format(msgspec.json.encode(rights)).decode()
    files = [
        File(path=folder / "rabbitmq.conf", content=configuration + options),
        File(path=folder / "definitions.json", content=known),
        File(path=folder / "environment.conf", content=""),  # in place of the machine's own
        File(path=folder / "enabled_plugins", content="[].\n"),
    ]
    mapper = Process(
        name=PORT_MAPPER,
        label="RabbitMQ's port mapper",
        stage=Stage.SERVER,
        command=place.command(programs.port_mapper, "-address", LOOPBACK, "-port", str(ports.mapper)),
        log=place.log.with_name(f"{PORT_MAPPER}.log"),
        probe=PortMapperProbe(port=ports.mapper, again=3 * PROBE_INTERVAL, timeout=PROBE_TIMEOUT),
        liveness=PortMapperProbe(port=ports.mapper, timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=ports.mapper,
    )
    server = Process(
        name="rabbitmq",
        label="RabbitMQ",
        stage=Stage.SERVER,
        command=place.command(programs.server),
        log=place.log,
        probe=RabbitMqProbe(
            port=ports.clients,
            administrator=administrators[0],
            platform=platform,
            services=tuple(services),
            again=PROBE_INTERVAL,
            timeout=PROBE_TIMEOUT,
        ),
        liveness=ReplyProbe(port=ports.clients, question=_PROTOCOL, timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=ports.clients,
        data=folder,
        after=(mapper.name,),
        start_timeout=120.0,  # Erlang needs 5 to 13 s, more where the machine has other work
        grace=20.0,
        reread=ImportDefinitions(
            tool=place.command(programs.server.with_name("rabbitmqctl"), "--node", _NODE),
            gone=tuple(user["name"] for user in rights["users"] if not user["password_hash"]),
            file=folder / "definitions.json",
        ),
    )
    return [mapper, server], files


def _environment(folder: Path, ports: RabbitMqPorts) -> dict[str, str]:
    return {
        "HOME": str(folder),  # of the cookie by which Erlang nodes know each other
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",  # of its log
        "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(ports.mapper),
        "ERL_FLAGS": "-start_epmd false",
        "RABBITMQ_ALLOW_INPUT": "1",  # makes the script exec, so that the process we start is the server itself
        "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_NODE_PORT": str(ports.clients),
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
    }
