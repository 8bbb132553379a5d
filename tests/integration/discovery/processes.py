"""The service of the tests under each server, as a real process on a free port."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from bandstand.conf import wire
from tests.integration.context.granian import ROOT
from tests.integration.optional.servers import Consul, accepts
from tests.ports import held_port
from tests.waiting import GUARD, until

MODULE = "tests.integration.discovery.service"
PROBES = "TEST_PROBES"  # names a file that grows by a byte with each probe of Consul's
SCRIPT = "tests/integration/discovery/service.py"

# fmt: off
SERVERS = {
    "granian": [
        "-m", "granian", "--interface", "wsgi", "--http", "1", "--workers", "{workers}", "--port", "{port}",
        "--blocking-threads", "4", "--workers-kill-timeout", "15", "--respawn-failed-workers", f"{MODULE}:application",
    ],
    "gunicorn": [
        "-m", "gunicorn", "-w", "{workers}", "-b", "127.0.0.1:{port}", "--threads", "4", f"{MODULE}:application",
    ],
    "gunicorn-preload": [
        "-m", "gunicorn", "--preload", "-w", "{workers}", "-b", "127.0.0.1:{port}", "--threads", "4",
        f"{MODULE}:application",
    ],
    "uvicorn": ["-m", "uvicorn", "--workers", "{workers}", "--port", "{port}", f"{MODULE}:asgi"],
    "worker": [SCRIPT, "worker"],
    "runserver": [SCRIPT, "runserver", "--noreload", "{port}"],
    "runserver-reload": [SCRIPT, "runserver", "{port}"],
}
# fmt: on


def environment(agent: Consul | None, folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.integration.discovery.settings",
        wire.DEBUG: "true",
        wire.SECRET_KEY: "django-insecure-tests-only",
        wire.DATABASE_URL: f"sqlite:///{folder}/database.sqlite3",
        wire.DISCOVERY_URL: f"consul://127.0.0.1:{agent.port}" if agent else "static:",
        wire.PLATFORM: "shop",
        wire.PROCESS: "web",
        **more,
    }


def manage(agent: Consul | None, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(agent, folder, **more),
        check=True,
        capture_output=True,
        text=True,
        timeout=GUARD,
    )


class Service:
    """One server with its workers."""

    def __init__(
        self, server: str, agent: Consul, folder: Path, *, workers: int = 1, port: int = 0, **more: str
    ) -> None:
        self.port = port or held_port()
        self.agent = agent
        self.log = folder / f"{server}-{self.port}.log"
        self._probes = folder / f"{server}-{self.port}.probes"
        words = [word.format(workers=workers, port=self.port) for word in SERVERS[server]]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=environment(agent, folder, **{wire.WORKER_PORT: str(self.port), PROBES: str(self._probes), **more}),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_registered(self) -> bool:
        return self.port in passing(self.agent)

    def probes(self) -> int:
        """How many times Consul has asked whether it is ready, and got an answer."""
        return self._probes.stat().st_size if self._probes.exists() else 0

    def stays(self, looks: int = 2) -> bool:
        """Say whether it is the only instance at each look, until Consul has asked it so many times more."""
        last = self.probes() + looks
        until(lambda: passing(self.agent) != [self.port] or self.probes() >= last, f"{looks} probes")
        return passing(self.agent) == [self.port]

    def answers(self, path: str = "/who/") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=GUARD) as answer:
            return str(answer.read().decode())

    def json(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.answers(path))
        return answer

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        """All of it at once, as a machine that loses its power."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(server: str, agent: Consul, folder: Path, *, registers: bool = True, **options: Any) -> Iterator[Service]:
    """Start a server, wait until it is registered, or only listens, and leave no process behind."""
    service = Service(server, agent, folder, **options)
    is_there = service.is_registered if registers else lambda: accepts(service.port)
    try:
        until(lambda: is_there() or service.process.poll() is not None, f"{server}: {service.log}")
        assert service.process.poll() is None, service.log.read_text()
        yield service
    except BaseException:
        print(service.log.read_text()[-5000:])
        raise
    finally:
        service.kill()


def entries(agent: Consul, *, name: str = "user-service", token: str = "") -> list[dict[str, Any]]:
    """All instances that Consul knows of, whatever their health."""
    request = urllib.request.Request(f"{agent.url}/v1/health/service/{name}", headers={"X-Consul-Token": token})
    with urllib.request.urlopen(request, timeout=GUARD) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def passing(agent: Consul, *, name: str = "user-service", token: str = "") -> list[int]:
    """The ports of the instances that are well."""
    return [
        entry["Service"]["Port"]
        for entry in entries(agent, name=name, token=token)
        if all(check["Status"] == "passing" for check in entry["Checks"])
    ]


def known(agent: Consul, where: str) -> set[str]:
    """What the agent itself has registered ("agent/services", by id), or the catalog ("catalog/services", by name)."""
    with urllib.request.urlopen(f"{agent.url}/v1/{where}", timeout=GUARD) as answer:
        return set(json.load(answer))


def forget_all(agent: Consul) -> None:
    """Take out every instance, and wait until no name is left."""
    for identity in known(agent, "agent/services"):
        request = urllib.request.Request(f"{agent.url}/v1/agent/service/deregister/{quote(identity)}", method="PUT")
        urllib.request.urlopen(request, timeout=GUARD).close()
    until(lambda: known(agent, "catalog/services") == {"consul"}, "Consul to know nobody")
