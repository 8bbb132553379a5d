"""Servers that come from the system's packages and not as wheels: RabbitMQ and Consul, each as a private child."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bandstand.testing import require_server

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(check: Callable[[], bool], process: subprocess.Popen[bytes], *, seconds: float, log: Path) -> None:
    """Wait until the server answers; its log is the text of the failure when it does not."""
    end = time.monotonic() + seconds
    while not check():
        assert process.poll() is None, f"the server ended:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"not ready after {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RabbitMq:
    """A RabbitMQ with its data in ``folder``, that a test can kill and start again; ``options`` go into its file.

    Its Erlang port mapper would outlive it, so it gets one of its own, which is ended too.
    """

    def __init__(self, folder: Path, options: str = "") -> None:
        require_server("rabbitmq", found=RABBITMQ.exists(), how="On Debian: apt-get install rabbitmq-server")
        self.folder = folder
        self.port, distribution, mapper = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndefault_user = bandstand\ndefault_pass = bandstand\n"
            f"log.console = true\nlog.file = false\ndisk_free_limit.absolute = 50MB\n{options}"
        )
        (folder / "none.conf").touch()
        (folder / "enabled_plugins").write_text("[].\n")
        self.environment = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_NODENAME": f"bandstand{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ALLOW_INPUT": "1",  # makes the script exec, so that the process we start is the server itself
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none -noinput"
            ),
        }

    def url(self, user: str = "bandstand", password: str = "bandstand") -> str:
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        log = self.folder / "output"
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [RABBITMQ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        wait_for(lambda: accepts(self.port), self.process, seconds=60, log=log)

    def kill(self) -> None:
        """Without a warning; what it had confirmed it still has."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; takes some seconds."""
        command = [RABBITMQ.with_name("rabbitmqctl"), "-q", "-n", self.environment["RABBITMQ_NODENAME"], *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout

    def close(self) -> None:
        if self.process is None:
            return
        members = family(self.process, str(self.folder))
        if self.process.poll() is None:
            end(self.process, seconds=20)
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        # Killed is not yet gone: who looks at once still finds it.
        deadline = time.monotonic() + 10
        while left := [member.pid for member in members if lives(member)]:
            assert time.monotonic() < deadline, f"{left} outlived SIGKILL by 10 s"
            time.sleep(0.01)


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


def family(process: "subprocess.Popen[bytes]", home: str) -> list[psutil.Process]:
    """Return what the process started, and the port mapper, which has no parent any more."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        found += psutil.Process(process.pid).children(recursive=True)
    for each in psutil.process_iter(["name"]):
        with suppress(psutil.NoSuchProcess):
            if each.info["name"] == "epmd" and each.environ().get("HOME") == home:
                found.append(each)
    return found


class Consul:
    """A Consul agent in development mode, which keeps all in memory: a test can stop it and start it again, empty."""

    def __init__(self, folder: Path) -> None:
        self.binary = shutil.which("consul")
        require_server(
            "consul", found=self.binary is not None, how="Put the program consul on the PATH; see .ci/install-servers."
        )
        self.log = folder / "consul.log"
        self.port, self.dns_port, *self._inner = (free_port() for _ in range(5))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        server, lan, wan = self._inner
        options = {
            "bind": "127.0.0.1",
            "client": "127.0.0.1",
            "http-port": self.port,
            "dns-port": self.dns_port,
            "server-port": server,
            "serf-lan-port": lan,
            "serf-wan-port": wan,
            "grpc-port": -1,
            "node": "bandstand",
            "log-level": "warn",
        }
        words = [str(word) for name, value in options.items() for word in (f"-{name}", value)]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [str(self.binary), "agent", "-dev", "-disable-host-node-id", *words],
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        wait_for(self.leads, self.process, seconds=20, log=self.log)

    def leads(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/status/leader", timeout=1) as answer:
                return len(answer.read()) > 4
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, seconds=5)
            self.process = None


@contextmanager
def consul(folder: Path) -> Iterator[Consul]:
    """Run a Consul agent, with its log in ``folder``."""
    agent = Consul(folder)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


def end(process: subprocess.Popen[bytes], *, seconds: float) -> None:
    """End a process in good order, or at once when it takes too long."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
