import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bandstand.cache import DistributedCache
from bandstand.cache.leases import LEASE, held, leases_of

from .server import SERVICE, Valkey

pytestmark = pytest.mark.integration

WORKER = Path(__file__).parent / "worker.py"


class Fleet:
    """Processes that read one hot key."""

    def __init__(self, valkey: Valkey, log: Path) -> None:
        self.valkey = valkey
        self.log = log
        self.processes: list[subprocess.Popen[str]] = []

    def start(
        self, *, processes: int = 3, compute: float = 0.4, seconds: float = 5, timeout: float = 2, stale: float = 0,
        protection: str = "single", rate: float = 1000,
    ) -> None:  # fmt: skip
        words = [self.valkey.url(), self.log, compute, seconds, rate / processes, timeout, stale, protection]
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(WORKER), *map(str, words)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=WORKER.parents[3],
            )
            for _ in range(processes)
        ]

    def results(self) -> list[dict[str, Any]]:
        outputs = [process.communicate(timeout=60)[0] for process in self.processes]
        return [json.loads(output.splitlines()[-1]) for output in outputs if "reads" in output]

    def computations(self) -> list[dict[str, Any]]:
        """What was computed, in the order of time: each with the number that ran at once."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        running, seen = 0, []
        for line in sorted(lines, key=lambda line: line["at"]):
            running += 1 if line["what"] == "begin" else -1
            if line["what"] == "begin":
                seen.append({**line, "running": running})
        return seen


@pytest.fixture
def fleet(valkey: Valkey, cache: Any, tmp_path: Path) -> Fleet:
    return Fleet(valkey, tmp_path / "computations")


def test_a_hot_key_is_computed_once_at_each_expiry(fleet: Fleet) -> None:
    """Three processes, 1,000 reads a second, 0.4 s to compute: never two at once, from the cold start on."""
    fleet.start(seconds=6, timeout=2)
    results = fleet.results()
    computations = fleet.computations()
    assert sum(each["errors"] for each in results) == 0
    assert sum(each["reads"] for each in results) > 1000
    assert max(each["running"] for each in computations) == 1
    gaps = [after["at"] - before["at"] for before, after in pairwise(computations)]
    assert gaps, "No value got old in this test"
    assert min(gaps) > 1.7  # a value of 2 s is computed anew a tenth early at most, and nobody computes twice


def test_tooth_without_protection_many_compute_at_once(fleet: Fleet) -> None:
    """The same load with leases and flights off."""
    fleet.start(seconds=3, timeout=2, protection="free")
    fleet.results()
    assert max(each["running"] for each in fleet.computations()) > 3


def test_when_the_holder_is_killed_another_computes(fleet: Fleet) -> None:
    """SIGKILL in the middle of a computation: the next one begins within 2 seconds, and there are two in all."""
    fleet.start(compute=1.0, seconds=6, timeout=60)
    deadline = time.monotonic() + 20
    while not (computations := fleet.computations()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    [holder] = [process for process in fleet.processes if process.pid == computations[0]["pid"]]
    time.sleep(0.2)
    holder.send_signal(signal.SIGKILL)
    killed_at = time.time()
    results = fleet.results()
    computations = fleet.computations()
    assert len(computations) == 2
    assert computations[1]["at"] - killed_at <= 2.0
    assert sum(each["errors"] for each in results) == 0


def test_a_long_computation_keeps_its_lease(fleet: Fleet) -> None:
    """Twice as long as a lease: still computed once."""
    fleet.start(compute=2 * LEASE, seconds=5, timeout=60)
    assert sum(each["errors"] for each in fleet.results()) == 0
    assert len(fleet.computations()) == 1


def test_redis_dies_in_the_middle(fleet: Fleet) -> None:
    """Readers see no error; each process computes for itself, one at a time, and all share again afterwards."""
    fleet.start(compute=0.2, seconds=6, timeout=1)
    deadline = time.monotonic() + 20
    while not fleet.computations():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fleet.valkey.kill()
    time.sleep(1.5)
    fleet.valkey.start()
    results = fleet.results()
    assert sum(each["errors"] for each in results) == 0
    computations = fleet.computations()
    assert max(each["running"] for each in computations) <= 3
    last = max(each["at"] for each in computations)
    assert len([each for each in computations if each["at"] > last - 0.9]) <= 2


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
