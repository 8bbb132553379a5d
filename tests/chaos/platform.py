"""A copy of the shop in a folder of its own, with a witness in each service that hears events."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import nats
import psutil

from bandstand.events.brokers import BrokerOptions, Outgoing, build_broker
from tests.platform.conftest import BANDSTAND, copy_shop

__all__ = ["WITNESSED", "CommandFailed", "Platform", "copied"]

WITNESS: Final = Path(__file__).with_name("witness")
WITNESSED: Final = ("product-service", "order-service", "notification-service")
BROKER: Final = 'nats = "embedded"'
# How the manifest names the broker that `bandstand up` starts.
BROKERS: Final = {"nats": BROKER, "rabbitmq": 'rabbitmq = "system"'}
DUPLICATE_WINDOW: Final = 2.0  # seconds
WAKINGS: Final = 10  # times that a worker is looked for which is to sleep
TOGETHER: Final = 5.0  # seconds in which a worker that woke up late and its twin both work
STOPPING: Final = 40.0  # more than a worker takes to finish
TWIN_POOL: Final = 16
LATE: Final = """
import sys, time
import django
django.setup()
from django.db import transaction
from bandstand.events import Event, publish
class Late(Event, type="order.late", version=1):
    seconds: float
with transaction.atomic():
    publish(Late(seconds=float(sys.argv[1])), key="late")
    time.sleep(float(sys.argv[1]))
"""
AS_IN_PRODUCTION: Final = """
from django.db.backends.base.base import BaseDatabaseWrapper
BaseDatabaseWrapper.queries_logged = property(lambda self: False)
"""
"""With DEBUG Django logs queries, and then no event rides in the COMMIT: what production does would never be killed."""
LIMITS: Final = {"minute = 100,": "minute = 1000000,", "hour = 1000 ": "hour = 10000000 "}


class CommandFailed(Exception):
    """A `bandstand` command ended with an error."""


@dataclass(kw_only=True)
class Platform:
    """The platform in ``folder``; ``environment`` is what its processes are given besides their own."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    broker: str = "nats"

    def up(self) -> str:
        """Start it; return the gateway's URL without a slash at the end."""
        gateway: str = self.bandstand("up", "--detach")["gateway"]
        if self.broker == "nats":
            asyncio.run(self._forget_quickly())
        return gateway.rstrip("/")

    async def _forget_quickly(self) -> None:
        """Make each outage longer than the time for which NATS drops what comes twice; RabbitMQ never does."""
        secrets = json.loads((self.folder / ".bandstand" / "secrets.json").read_text())
        client = await nats.connect(f"nats://bandstand:{secrets['nats']}@127.0.0.1:{self._state['ports']['nats']}")
        stream = client.jetstream()
        config = (await stream.stream_info("shop-events")).config
        config.duplicate_window = DUPLICATE_WINDOW
        await stream.update_stream(config)
        await client.close()

    def down(self) -> None:
        """Stop it; no error where it does not run."""
        self.bandstand("down")

    def waiting(self) -> str:
        """Return what is on its way according to `bandstand events status`, or why that is not known; else ""."""
        try:
            status = self.bandstand("events", "status")
        except (CommandFailed, subprocess.TimeoutExpired) as error:
            return str(error)
        counts = {name: _on_the_way(service) for name, service in status["services"].items()}
        return "; ".join([*(f"{name}: {what}" for name, what in counts.items() if what), *status["failed"].values()])

    def kill(self, name: str) -> bool:
        """Send SIGKILL to the process of that name; return False where it is down already."""
        process = self._process(name)
        with suppress(psutil.NoSuchProcess):
            if process is not None:
                process.kill()
                return True
        return False

    def pause(self, name: str, seconds: float, patience: float) -> bool:
        """Stop the worker of that name for so long while a twin does its work; return False if it did not come to it.

        So what it had in its hands is brought to both, and when it wakes up late, another has relayed and handled it.
        ``patience`` is how many seconds the twin may take until it is ready.
        """
        with self._twin(name.removesuffix("-worker"), patience) as ready:
            return ready and any(self._sleep(name, seconds) for _ in range(WAKINGS))

    def _sleep(self, name: str, seconds: float) -> bool:
        process = self._process(name)
        with suppress(psutil.NoSuchProcess):
            if process is not None:
                process.suspend()
                time.sleep(seconds)
                process.resume()
                time.sleep(TOGETHER)
                return True
        time.sleep(1.0)  # it fell at a named point, and is about to be started anew
        return False

    @contextmanager
    def _twin(self, service: str, patience: float) -> Iterator[bool]:
        """A second worker of ``service``, as another machine would run it; yield whether it is ready."""
        file = self.folder / ".bandstand" / f"{service}-twin.ready"
        more = [f"BANDSTAND_READY_FILE={file}", f"BANDSTAND_DATABASE_POOL_SIZE={TWIN_POOL}"]
        command = [BANDSTAND, "exec", service, "env", *more, "python", "manage.py", "worker"]
        with (self.folder / ".bandstand" / "logs" / f"{service}-twin.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            end = time.monotonic() + patience
            while not file.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            yield file.exists()
        finally:
            process.terminate()
            try:
                process.wait(STOPPING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def keep_down(self, name: str, seconds: float) -> int:
        """Kill the process of that name whenever it is there, for so long; return how often."""
        end, kills = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            kills += self.kill(name)
            time.sleep(0.2)
        return kills

    def poison(self, service: str, name: str, patience: float) -> bool:
        """Publish what nobody can read as ``service``, with the id ``name``; say whether the broker confirmed it."""
        options = BrokerOptions(platform="shop", service=service)
        message = Outgoing(id=name, type="order.placed", body=b"{this is no event")
        end = time.monotonic() + patience
        with closing(build_broker(self._variables(service)["BROKER_URL"], options)) as broker:
            broker.open(lambda: None)
            while time.monotonic() < end:
                if broker.connected and broker.publish([message]) == [None]:
                    return True
                time.sleep(0.2)
        return False

    def commit_late(self, service: str, seconds: float) -> bool:
        """Publish an event in a transaction that stays open for so long; say whether it was committed."""
        try:
            self._run("exec", service, "python", "-c", LATE, str(seconds))
        except (CommandFailed, subprocess.TimeoutExpired):  # the database was killed after all
            return False
        return True

    @property
    def restarts(self) -> int:
        """How often a process of the platform ended and was started again."""
        return sum(row["restarts"] for row in self._state["processes"])

    @property
    def _state(self) -> Any:
        return json.loads((self.folder / ".bandstand" / "state.json").read_text())

    def _process(self, name: str) -> psutil.Process | None:
        row = next(row for row in self._state["processes"] if row["name"] == name)
        with suppress(psutil.NoSuchProcess):
            if (
                row["pid"] is not None
                and abs((process := psutil.Process(row["pid"])).create_time() - row["started"]) < 1
            ):
                return process  # else another process has its number by now
        return None

    @cached_property
    def databases(self) -> dict[str, str]:
        """The URL of each service's database."""
        names = ("user-service", *WITNESSED)
        return {name: self._variables(name)["DATABASE_URL"] for name in names}

    def bandstand(self, *arguments: str) -> Any:
        """Run a command with ``--json`` and return its object.

        Raises:
            CommandFailed: with what it said.
        """
        return json.loads(self._run(*arguments, "--json"))

    def _variables(self, service: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._run("exec", service, "env").splitlines() if "=" in line)

    def _run(self, *arguments: str) -> str:
        ran = subprocess.run(
            [BANDSTAND, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if ran.returncode:
            raise CommandFailed(f"bandstand {' '.join(arguments)}: {ran.stderr or ran.stdout}")
        return ran.stdout


def copied(target: Path, broker: str = "nats") -> Path:
    """Copy the shop to ``target``, on that broker, without limits for one address, with a witness; return where."""
    folder = copy_shop(target)
    manifest = folder / "bandstand.toml"
    text = manifest.read_text()
    for written, wanted in {**LIMITS, BROKER: BROKERS[broker]}.items():
        if written not in text:
            raise ValueError(f"shop/bandstand.toml no longer says {written!r}; mend {__file__}.")
        text = text.replace(written, wanted)
    manifest.write_text(text)
    for service in WITNESSED:
        shutil.copytree(WITNESS, folder / service / "witness", ignore=shutil.ignore_patterns("__pycache__"))
    for service in ("user-service", *WITNESSED):
        settings = folder / service / service.replace("-", "_") / "settings.py"
        witness = 'INSTALLED_APPS += ["witness"]\n' if service in WITNESSED else ""
        settings.write_text(f"{settings.read_text()}\n{AS_IN_PRODUCTION}{witness}")
    return folder


def _on_the_way(service: Mapping[str, Any]) -> str:
    if service["broker_error"]:
        return str(service["broker_error"])
    outbox = service["outbox"]
    counts = {name: outbox[name] for name in ("pending", "in_flight", "parked")}
    for subscription in service["subscriptions"]:
        for name in ("at_broker", "in_hand", "retrying", "waiting", "running"):
            counts[name] = counts.get(name, 0) + (subscription[name] or 0)  # None: the broker can't tell
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
