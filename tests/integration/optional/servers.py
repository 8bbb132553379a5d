"""Servers that come from the system's packages and not as wheels: RabbitMQ and Consul, each as a private child."""

import asyncio
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pika
import psutil
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from bandstand.exceptions import ServerMissing
from bandstand.testing import require_server
from bandstand.topology.rabbitmq import declare_exchanges
from bandstand.workspace.runtime import find_rabbitmq
from bandstand.workspace.runtime.accounts import ADMINISTRATOR, Account
from bandstand.workspace.runtime.environment import base_environment
from bandstand.workspace.runtime.resources import NotReady, Probe, Process
from bandstand.workspace.runtime.servers.base import Place
from bandstand.workspace.runtime.servers.rabbitmq import RabbitMqPorts, plan_rabbitmq
from bandstand.workspace.runtime.system import RabbitMqPrograms
from tests.ports import guarded_port, held_port
from tests.programs import INSTALL_SERVERS, require_program
from tests.waiting import until

PASSWORD = "secret"


def require_rabbitmq() -> RabbitMqPrograms:
    """Return the RabbitMQ that the runner would start, or skip the test (fail it, where RabbitMQ is required)."""
    try:
        return find_rabbitmq()
    except ServerMissing:
        require_server("rabbitmq", found=False, how=INSTALL_SERVERS)
        raise


def wait_for(check: Callable[[], bool], process: subprocess.Popen[bytes], *, log: Path) -> None:
    """Wait until the server answers; its log is the text of the failure when it does not."""

    def answers() -> bool:
        assert process.poll() is None, f"the server ended:\n{log.read_text()[-3000:]}"
        return check()

    until(answers, "the server to be ready", evidence=lambda: log.read_text()[-3000:])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RabbitMq:
    """A RabbitMQ as the runner starts it, with its data in ``folder``, that a test can kill and start again.

    ``options`` go into its configuration; ``erlang`` are arguments for Erlang in place of the runner's; ``services``
    have users of their names, with the same password.
    """

    def __init__(
        self,
        folder: Path,
        options: str = "",
        *,
        erlang: str = "",
        platform: str = "optional",
        services: Sequence[str] = (),
    ) -> None:
        programs = require_rabbitmq()
        self.folder = folder
        self.port = held_port()
        self.process: subprocess.Popen[bytes] | None = None
        resources, files = plan_rabbitmq(
            Place(folder=folder, log=folder / "output", environment=base_environment(os.environ)),
            programs=programs,
            ports=RabbitMqPorts(clients=self.port, distribution=held_port(), mapper=held_port()),
            platform=platform,
            services=services,
            administrators=[Account(service="", user=ADMINISTRATOR, password=PASSWORD)],
            accounts=[Account(service=name, user=name, password=PASSWORD) for name in services],
            options=options,
        )
        for file in files:
            file.path.write_text(file.content)
        self._mapper_plan, self._plan = (each for each in resources if isinstance(each, Process))
        self._mapper: subprocess.Popen[bytes] | None = None
        self.environment = dict(self._plan.command.environment)
        if erlang:
            self.environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = erlang

    def url(self, user: str = ADMINISTRATOR, password: str = PASSWORD) -> str:
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/%2F"

    def declare(self, platform: str, *services: str) -> tuple[str, ...]:
        """Declare what the services of a platform share, as its administrator does; return what was missing."""
        return asyncio.run(declare_exchanges(self.url(), platform, services))

    @contextmanager
    def channel(self, user: str = ADMINISTRATOR, password: str = PASSWORD) -> Iterator[BlockingChannel]:
        """A raw channel, with confirmations."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url(user, password)))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def has_exchange(self, name: str) -> bool:
        with self.channel() as channel:
            try:
                channel.exchange_declare(name, passive=True)
            except ChannelClosedByBroker:
                return False
        return True

    def start(self) -> None:
        if self._mapper is None:
            self._mapper = self._started(self._mapper_plan)
        self.process = self._started(self._plan)

    def _started(self, plan: Process) -> "subprocess.Popen[bytes]":
        with plan.log.open("ab") as sink:
            process = subprocess.Popen(
                plan.command.arguments,
                cwd=plan.command.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        wait_for(lambda: passes(plan.probe), process, log=plan.log)
        return process

    def kill(self) -> None:
        """Without a warning; what it had confirmed it still has."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; takes some seconds."""
        program = Path(self._plan.command.arguments[0]).with_name("rabbitmqctl")
        command = [program, "-q", "-n", self.environment["RABBITMQ_NODENAME"], *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout

    def close(self) -> None:
        """End both processes; what the server started ends with it."""
        members = family(self.process) if self.process else []
        for process in (self.process, self._mapper):
            if process is not None and process.poll() is None:
                end(process)
        # What has ended may still be there for a moment.
        until(lambda: not any(map(lives, members)), "what the server started to end", evidence=lambda: str(members))

    def has_written(self, *queues: str) -> bool:
        """Return whether these quorum queues, and the archives of platforms, withstand a kill."""
        folder = self.folder / "mnesia"
        return all(withstands_a_kill(folder, queue) for queue in queues) and withstands_a_kill(folder, COORDINATOR)


COORDINATOR = "rabbit_stream_coordinator"
"""The name on the disk that stands for all streams, which the archives are."""


def withstands_a_kill(folder: Path, queue: str) -> bool:
    """Return whether the queue survives a kill of the RabbitMQ that has its data below ``folder``.

    RabbitMQ writes the names of queues to where it looks for them at its start some time after it confirmed them.
    """
    return any(queue.encode() in file.read_bytes() for file in folder.glob("**/names.dets"))


def passes(probe: Probe) -> bool:
    """Ask once."""
    try:
        asyncio.run(asyncio.wait_for(probe.check(), probe.timeout))
    except (NotReady, OSError, TimeoutError):
        return False
    return True


def lives(process: psutil.Process) -> bool:
    """True unless it ended; one that ended may stay as a zombie where nobody waits for it."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """Run a RabbitMQ with its data in ``folder`` and give its port; user and password are ``bandstand``."""
    server = RabbitMq(folder)
    try:
        server.start()
        yield server.port
    finally:
        server.close()


def family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return what the process started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class Consul:
    """A Consul agent in development mode, which keeps all in memory: a test can stop it and start it again, empty.

    ``options`` is configuration in HCL.
    """

    def __init__(self, folder: Path, options: str = "") -> None:
        self.options = options
        self.binary = require_program("consul")
        self.log = folder / "consul.log"
        self.port, self._server_port = held_port(), held_port()
        self.dns_port, self._lan_port, self._wan_port = (guarded_port() for _ in range(3))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "client": "127.0.0.1",
            "http-port": self.port,
            "dns-port": self.dns_port,
            "server-port": self._server_port,
            "serf-lan-port": self._lan_port,
            "serf-wan-port": self._wan_port,
            "grpc-port": -1,
            "node": "bandstand",
            "log-level": "warn",
            "hcl": self.options,
        }
        words = [str(word) for name, value in options.items() for word in (f"-{name}", value)]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [self.binary, "agent", "-dev", "-disable-host-node-id", *words],
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        wait_for(self.leads, self.process, log=self.log)

    def leads(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/status/leader", timeout=10) as answer:
                return len(answer.read()) > 4
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None


@contextmanager
def consul(folder: Path, options: str = "") -> Iterator[Consul]:
    """Run a Consul agent, with its log in ``folder``."""
    agent = Consul(folder, options)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process in good order, or at once when it hangs."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
