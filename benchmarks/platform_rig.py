"""Shared by the benchmarks of a platform: the shop under `bandstand up`, the usage of its processes, and a client."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pycurl

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.platform.conftest import BANDSTAND, Shop, copy_shop, running

RUNNER = "runner"


def replaced(path: Path, *changes: tuple[str, str]) -> None:
    """Replace each text in the file, which must have it once."""
    text = path.read_text()
    for before, after in changes:
        if text.count(before) != 1:
            sys.exit(f"{path} has {before!r} {text.count(before)} times and not once: adapt the benchmark to it.")
        text = text.replace(before, after)
    path.write_text(text)


@contextmanager
def shop() -> Iterator[Shop]:
    """Run a copy of the shop as it is, but for the gateway's limits on one address, from which all load comes."""
    with tempfile.TemporaryDirectory(prefix="bandstand-bench-") as folder:
        copy = copy_shop(Path(folder))
        replaced(copy / "bandstand.toml", ("{ minute = 100, hour = 1000 }", "{ minute = 1000000, hour = 10000000 }"))
        with running(copy) as started:
            yield started


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and its living descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def seconds(processes: list[psutil.Process]) -> float:
    """Return the processor time of the processes and of the children that they have outlived, as sessions of
    PostgreSQL.
    """
    used = 0.0
    for process in processes:
        times = process.cpu_times()
        used += times.user + times.system + times.children_user + times.children_system
    return used


class Platform:
    """The processes of a platform by kind: ``web``, ``worker``, each server by its name, and ``runner``."""

    def __init__(self, folder: Path) -> None:
        said = subprocess.run([BANDSTAND, "ps", "--json"], cwd=folder, capture_output=True, text=True, check=True)
        state = json.loads(said.stdout)
        self.pids: dict[str, int] = {each["name"]: each["pid"] for each in state["processes"]}
        self._services: dict[str, str | None] = {each["name"]: each["service"] for each in state["processes"]}
        self._runner: int = state["pid"]

    def kinds(self) -> dict[str, list[psutil.Process]]:
        """Return the processes that live now."""
        found: dict[str, list[psutil.Process]] = {}
        for name, pid in self.pids.items():
            found.setdefault(self._kind(name), []).extend(tree(pid))
        known = {process.pid for processes in found.values() for process in processes}
        return {**found, RUNNER: [process for process in tree(self._runner) if process.pid not in known]}

    def seconds(self) -> dict[str, float]:
        """Return the processor time that each kind has used so far."""
        return {kind: seconds(processes) for kind, processes in self.kinds().items()}

    def memory(self) -> dict[str, float]:
        """Return the megabytes of each kind: proportional set size, which counts a shared page once."""
        return {
            kind: sum(process.memory_full_info().pss for process in processes) / 1e6
            for kind, processes in self.kinds().items()
        }

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a process."""
        return psutil.Process(self.pids[name]).environ()

    def _kind(self, name: str) -> str:
        service = self._services[name]
        return name.removeprefix(f"{service}-") if service else name


class Caller:
    """One client that keeps its connection. It is for one thread."""

    def __init__(self, base: str, authorization: str = "") -> None:
        self._base = base
        self._headers = ["Accept: application/json", *([f"Authorization: {authorization}"] if authorization else [])]
        self._handle = pycurl.Curl()
        self._handle.setopt(pycurl.NOSIGNAL, 1)
        self._handle.setopt(pycurl.TIMEOUT, 30)

    def get(self, path: str) -> Any:
        """Return the JSON of an answer 200."""
        self._handle.setopt(pycurl.HTTPGET, 1)
        self._handle.setopt(pycurl.HTTPHEADER, self._headers)
        return json.loads(self._answer("GET", path, 200))

    def post(self, path: str, body: object, *headers: str, wanted: int = 201) -> Any:
        """Return the JSON of an answer that has the ``wanted`` status."""
        self._handle.setopt(pycurl.POST, 1)
        self._handle.setopt(pycurl.POSTFIELDS, json.dumps(body))
        self._handle.setopt(pycurl.HTTPHEADER, [*self._headers, "Content-Type: application/json", *headers])
        return json.loads(self._answer("POST", path, wanted))

    def close(self) -> None:
        """Close the connection."""
        self._handle.close()

    def _answer(self, method: str, path: str, wanted: int) -> bytes:
        self._handle.setopt(pycurl.URL, self._base + path)
        body: bytes = self._handle.perform_rb()
        status = self._handle.getinfo(pycurl.RESPONSE_CODE)
        if status != wanted:
            raise RuntimeError(f"{method} {self._base}{path} answered {status} and not {wanted}: {body[:500]!r}")
        return body
