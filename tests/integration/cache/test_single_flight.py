import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bandstand.cache import DistributedCache
from bandstand.cache.leases import LEASE, held, leases_of
from tests.waiting import GUARD, until

from .server import SERVICE, Valkey

pytestmark = pytest.mark.integration

WORKER = Path(__file__).parent / "worker.py"


class Fleet:
    """Processes that read one hot key until they are told that it is over."""

    def __init__(self, valkey: Valkey, log: Path) -> None:
        self.valkey = valkey
        self.log = log
        self.processes: list[subprocess.Popen[str]] = []

    def start(
        self, *, processes: int = 3, compute: float = 0.4, first: float | None = None, timeout: float = 2,
        lease: float = 5 * LEASE, protection: str = "single", rate: float = 1000,
    ) -> None:  # fmt: skip
        """Unless told, a lease is so long that its holder prolongs it in time even without a processor for seconds."""
        words = [
            self.valkey.url(), self.log, compute, compute if first is None else first, rate / processes, timeout, lease,
            protection,
        ]  # fmt: skip
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.integration.cache.worker", *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=WORKER.parents[3],
            )
            for _ in range(processes)
        ]
        self.wait_for(lambda: len(self.notes("ready")) == processes)

    def wait_for(self, condition: Callable[[], object]) -> None:
        until(condition, "the processes", evidence=lambda: self.log.read_text() if self.log.exists() else "")

    def finish(self) -> list[dict[str, Any]]:
        """Let them come to an end, and return what those did that have not been killed."""
        outputs = [process.communicate(timeout=GUARD)[0] for process in self.processes]
        return [
            json.loads(output)
            for process, output in zip(self.processes, outputs, strict=True)
            if process.returncode != -signal.SIGKILL
        ]

    def close(self) -> None:
        """End what a failed test left running, which would compute for the next one."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def notes(self, what: str = "") -> list[dict[str, Any]]:
        """What the processes wrote down, in the order of time."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return sorted((line for line in lines if line["what"] == what or not what), key=lambda line: line["at"])

    def computations(self) -> list[dict[str, Any]]:
        """What was computed, in the order of time: each with the number that ran at once."""
        running, seen = 0, []
        for note in self.notes():
            running += {"begin": 1, "end": -1}.get(note["what"], 0)
            if note["what"] == "begin":
                seen.append({**note, "running": running})
        return seen

    def gaps(self) -> list[float]:
        """Seconds between the beginning of a computation and that of the next."""
        return [after["at"] - before["at"] for before, after in pairwise(self.computations())]


@pytest.fixture
def fleet(valkey: Valkey, cache: Any, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(valkey, tmp_path / "computations")
    yield fleet
    fleet.close()


def test_a_hot_key_is_computed_once_at_each_expiry(fleet: Fleet) -> None:
    """Three processes, 1,000 reads a second, 0.4 s to compute: never two at once, from the cold start on."""
    fleet.start(timeout=1)
    fleet.wait_for(lambda: len(fleet.computations()) == 4)
    results = fleet.finish()
    assert sum(each["errors"] for each in results) == 0
    assert sum(each["reads"] for each in results) > 1000
    assert max(each["running"] for each in fleet.computations()) == 1
    # A value of 1 s that took 0.4 s is computed anew a tenth early at most, and nobody computes twice.
    assert min(fleet.gaps()) > 1.2


def test_tooth_without_protection_many_compute_at_once(fleet: Fleet) -> None:
    """The same load with leases and flights off."""
    fleet.start(timeout=2, protection="free")
    fleet.wait_for(lambda: max((each["running"] for each in fleet.computations()), default=0) > 3)


def test_when_the_holder_is_killed_another_computes(fleet: Fleet) -> None:
    """SIGKILL in the middle of a computation: another process takes over, and there are two computations in all."""
    fleet.start(compute=0.1, first=GUARD, timeout=600, lease=LEASE)
    fleet.wait_for(fleet.computations)
    [holder] = [process for process in fleet.processes if process.pid == fleet.computations()[0]["pid"]]
    holder.send_signal(signal.SIGKILL)
    fleet.wait_for(lambda: len(fleet.computations()) > 1)
    results = fleet.finish()
    assert sum(each["errors"] for each in results) == 0
    assert [each["pid"] == holder.pid for each in fleet.computations()] == [True, False]


def test_a_long_computation_keeps_its_lease(fleet: Fleet) -> None:
    """Longer than a lease: still computed once."""
    fleet.start(compute=5 * LEASE, timeout=600, lease=4 * LEASE)
    fleet.wait_for(lambda: fleet.notes("end"))
    assert sum(each["errors"] for each in fleet.finish()) == 0
    assert len(fleet.computations()) == 1


def test_redis_dies_in_the_middle(fleet: Fleet) -> None:
    """Readers see no error; each process computes for itself, one at a time, and all share again afterwards."""
    fleet.start(compute=0.2, timeout=1)
    fleet.wait_for(fleet.computations)
    fleet.valkey.kill()
    killed_at = time.time()
    fleet.wait_for(lambda: len({each["pid"] for each in fleet.computations() if each["at"] > killed_at}) == 3)
    fleet.valkey.start()
    # Three who do not share begin three times in the time that a value holds.
    fleet.wait_for(lambda: min(fleet.gaps()[-3:]) > 0.9)
    results = fleet.finish()
    assert sum(each["errors"] for each in results) == 0
    assert max(each["running"] for each in fleet.computations()) <= 3


def test_a_lease_belongs_to_one(cache: Any) -> None:
    """A second one is refused until the first is given back, and only its holder can give it back or prolong it."""
    leases = leases_of(cache)
    with held(leases, "x") as first, held(leases, "x") as second:
        assert (first, second) == (True, False)
        assert leases.release("x", "made up") is False
        assert leases.renew("x", "made up", 5) is False
    with held(leases, "x") as third:
        assert third is True


def test_every_key_begins_with_the_name_of_the_service(cache: Any, valkey: Valkey) -> None:
    """Values, leases and tags: what the service's user in Redis may reach."""
    seen: set[bytes] = set()

    def compute() -> int:
        with valkey.admin() as admin:
            seen.update(admin.keys("*"))
        return 1

    kept = DistributedCache("products")
    assert kept.get_or_set("k", compute, tags=["red"]) == 1
    assert kept.get("k") == 1
    with valkey.admin() as admin:
        seen.update(admin.keys("*"))
    assert {b"lease" in key or b"tag" in key or b"products:k" in key for key in seen} == {True}
    assert len(seen) == 3
    assert all(key.startswith(f"{SERVICE}:".encode()) for key in seen)
