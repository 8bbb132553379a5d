"""The same promises behind PgBouncer, where a session of PostgreSQL belongs to its client for a transaction only."""

import signal
from collections.abc import Iterator
from contextlib import closing
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connections

from bandstand.events.wakeup import Listener
from tests.integration.events.conftest import ZERO, Rig
from tests.integration.optional.pgbouncer import PgBouncer
from tests.integration.servers import Nats, Postgres

BY_TRANSACTION = {"sessions": 3}  # fewer than a worker has threads
BY_SESSION = {"sessions": 50, "pool_mode": "session"}


@pytest.fixture
def pooler(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with closing(PgBouncer(postgres, **getattr(request, "param", BY_TRANSACTION))) as pooler:
        pooler.start()
        yield pooler


@pytest.fixture
def pooled(pooler: PgBouncer, nats: Nats, template: str, django_db_blocker: Any) -> Iterator[Rig]:
    with django_db_blocker.unblock(), closing(Rig(pooler, nats, template, engine="bandstand.postgresql")) as made:
        yield made


@pytest.mark.parametrize("pooler", [BY_TRANSACTION, BY_SESSION], indirect=True, ids=["by transaction", "by session"])
def test_nothing_is_lost_or_done_twice(pooled: Rig) -> None:
    """Two workers of four threads, which share three sessions or have their own; one dies; all has its effects once."""
    doomed, _ = pooled.ready_worker(), pooled.ready_worker()
    pooled.write_many(100)
    pooled.until(lambda: len(pooled.effects()) >= 20, "the first effects")
    pooled.stop(doomed, signal.SIGKILL)
    pooled.write_many(100, start=100)
    pooled.until(pooled.settled, "all effects")
    assert pooled.ledger() == pooled.ledger("watcher") == ZERO
    assert "An event has to wait" not in pooled.log.read_text(), "what a session does not know is no failure"


def test_a_pooler_that_is_killed_loses_nothing(pooled: Rig, pooler: PgBouncer) -> None:
    """After SIGKILL of PgBouncer what was committed has its effect once; the worker heals by itself."""
    worker = pooled.ready_worker()
    for start in (0, 100):
        pooled.write_many(20, start)
        pooler.kill()
        with pytest.raises(OperationalError):
            pooled.write(start + 99)
        connections[pooled.platform].close()
        pooler.start()
    pooled.write(999)
    pooled.until(pooled.settled, "all effects")
    assert set(pooled.effects()) == {*range(20), *range(100, 120), 999}
    assert pooled.ledger() == pooled.ledger("watcher") == ZERO
    assert worker.poll() is None, "the worker itself never died"


def test_a_worker_past_the_pooler_is_told(pooled: Rig, postgres: Postgres) -> None:
    """What a web process commits through it wakes a relay with a session of its own, which else looks each minute."""
    pooled.ready_worker(events={"POLL_INTERVAL": 60}, DATABASE_URL=postgres.url(pooled.platform))
    for number in range(3):
        pooled.write(number)
        pooled.until(pooled.settled, "its effect")


def is_told(alias: str) -> bool:
    """Let a listener connect, and ask whether it counts on hearing."""
    woken = Event()
    listener = Listener(alias, {"outbox": woken.set})
    listener.start()
    try:
        assert woken.wait(30), "it wakes once when it is connected"
        return listener.listening
    finally:
        listener.stop()


def test_the_relay_does_not_count_on_being_told(pooled: Rig, rig: Rig) -> None:
    """A notification reaches only a session that is the client's own, so behind a pooler the relay looks more often."""
    assert is_told(rig.platform)
    assert not is_told(pooled.platform)
