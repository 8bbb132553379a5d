"""A handler that takes batches, on the real PostgreSQL and NATS, killed in the middle and fed with poison."""

import signal
from functools import partial

import pytest

from tests.integration.events.conftest import ZERO, Rig

BATCH = {"LEDGER_BATCH": "50"}


def arrived(rig: Rig, count: int) -> bool:
    return len(set(rig.effects("batched"))) == count and not rig.stuck()


def test_a_batch_is_one_transaction_and_keeps_the_order(rig: Rig) -> None:
    """A backlog is handled in far fewer transactions than events, each event once, each key's in order."""
    rig.write_many(600)
    rig.ready_worker(**BATCH)
    rig.until(lambda: arrived(rig, 600), "all effects")
    assert rig.ledger("batched") == ZERO
    [(transactions,)] = rig.query("SELECT count(DISTINCT xmin::text) FROM effect WHERE subscription = 'batched'")
    assert transactions < 300
    rows = rig.query("SELECT key, number FROM effect WHERE subscription = 'batched' ORDER BY id")
    for key in {key for key, _ in rows}:
        numbers = [number for each, number in rows if each == key]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("point", ["consumer.after_handler", "consumer.before_acknowledge"])
def test_a_worker_killed_in_a_batch_has_each_effect_once(rig: Rig, point: str) -> None:
    """Killed before the commit the whole batch is handled anew, killed after it nothing of it is."""
    rig.write_many(50)
    process = rig.worker(failpoints=f"{point}=kill:15", **BATCH)
    rig.until(lambda: process.poll() is not None, "the worker is killed at the fail-point")
    assert process.returncode == -signal.SIGKILL
    rig.ready_worker(**BATCH)
    at_rest = partial(rig.at_rest, "batched", "counted")
    rig.until(lambda: arrived(rig, 50) and at_rest(), "all effects, and nothing comes again")
    assert rig.ledger("batched") == rig.ledger() == ZERO


def test_without_the_inbox_a_batch_would_repeat(rig: Rig) -> None:
    """The tooth: with the inbox switched off, a kill after a commit makes the ledger count duplicates."""
    rig.write_many(50)
    process = rig.worker(failpoints="consumer.inbox,consumer.before_acknowledge=kill:15", **BATCH)
    rig.until(lambda: process.poll() is not None, "the worker is killed at the fail-point")
    rig.ready_worker(failpoints="consumer.inbox", **BATCH)
    rig.until(lambda: rig.repeats("batched", "counted", "watcher", "typed"), "a repeated effect")


def test_poison_in_a_batch_costs_only_itself(rig: Rig) -> None:
    """Of three poisonous events among a hundred, three are dead letters and all others have their effect."""
    for number in range(100):
        rig.write(number, key=str(number), do="poison" if number % 40 == 7 else "")
    rig.ready_worker(**BATCH)
    rig.until(lambda: rig.count("bandstand_dead_letter WHERE subscription = 'batched'") == 3, "three dead letters")
    rig.until(lambda: arrived(rig, 97), "all others")
    assert sorted(rig.effects("batched")) == [number for number in range(100) if number % 40 != 7]
