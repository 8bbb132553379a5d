"""A copy of the shop in a folder of its own, with a witness in each service that hears events."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil

from tests.platform.conftest import BANDSTAND, copy_shop

__all__ = ["WITNESSED", "CommandFailed", "Platform", "copied"]

WITNESS: Final = Path(__file__).with_name("witness")
WITNESSED: Final = ("product-service", "order-service", "notification-service")
LIMITS: Final = {"minute = 100,": "minute = 1000000,", "hour = 1000 ": "hour = 10000000 "}


class CommandFailed(Exception):
    """A `bandstand` command ended with an error."""


@dataclass(kw_only=True)
class Platform:
    """The platform in ``folder``; ``environment`` is what its processes are given besides their own."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def up(self) -> str:
        """Start it; return the gateway's URL without a slash at the end."""
        gateway: str = self.bandstand("up", "--detach")["gateway"]
        return gateway.rstrip("/")

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
        state = json.loads((self.folder / ".bandstand" / "state.json").read_text())
        row = next(row for row in state["processes"] if row["name"] == name)
        if row["pid"] is None:
            return False
        try:
            process = psutil.Process(row["pid"])
            if abs(process.create_time() - row["started"]) > 1.0:
                return False  # another process has its number by now
            process.kill()
        except psutil.NoSuchProcess:
            return False
        return True

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


def copied(target: Path) -> Path:
    """Copy the shop to ``target``, without limits for one address and with a witness; return its folder."""
    folder = copy_shop(target)
    manifest = folder / "bandstand.toml"
    text = manifest.read_text()
    for limit, raised in LIMITS.items():
        if limit not in text:
            raise ValueError(f"shop/bandstand.toml no longer says {limit!r}; mend LIMITS in {__file__}.")
        text = text.replace(limit, raised)
    manifest.write_text(text)
    for service in WITNESSED:
        shutil.copytree(WITNESS, folder / service / "witness", ignore=shutil.ignore_patterns("__pycache__"))
        settings = folder / service / service.replace("-", "_") / "settings.py"
        settings.write_text(settings.read_text() + '\nINSTALLED_APPS += ["witness"]\n')
    return folder


def _on_the_way(service: Mapping[str, Any]) -> str:
    if service["broker_error"]:
        return str(service["broker_error"])
    outbox = service["outbox"]
    counts = {name: outbox[name] for name in ("pending", "in_flight", "parked")}
    for subscription in service["subscriptions"]:
        for name in ("at_broker", "in_hand", "retrying", "waiting", "running"):
            counts[name] = counts.get(name, 0) + subscription[name]
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
