"""The same promises behind PgBouncer, where a session of PostgreSQL belongs to its client for a transaction only."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connections

from bandstand.events import wakeup
from bandstand.events.wakeup import Listener
from bandstand.exceptions import ServerFailed
from bandstand.postgresql import PoolMode, connect_outside_pool, pool_mode
from bandstand.workspace.database import read_limits
from tests.integration.events.conftest import ZERO, Rig
from tests.integration.optional.pgbouncer import PgBouncer
from tests.integration.servers import Nats, Postgres
from tests.ports import held_port
from tests.waiting import GUARD

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


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set when a listener has found out that it hears nothing."""
    found = Event()
    monkeypatch.setattr(Listener, "_report_silence", lambda _: found.set())
    return found


@contextmanager
def listening(alias: str) -> Iterator[tuple[Listener, Event]]:
    woken = Event()
    listener = Listener(alias, {"outbox": woken.set})
    listener.start()
    try:
        yield listener, woken
    finally:
        listener.stop()


@pytest.mark.parametrize("pooler", [BY_SESSION], indirect=True)
def test_a_session_of_its_own_is_notified(pooled: Rig, rig: Rig) -> None:
    """Directly, and behind a pooler that gives each client a session, the relay counts on notifications."""
    for each in (pooled, rig):
        with listening(each.platform) as (listener, woken):
            assert woken.wait(GUARD), "it wakes once when it listens"
            assert listener.listening


def test_a_shared_session_is_not(pooled: Rig, silence: Event) -> None:
    """With sessions shared by transaction the listener counts on no notification and leaves no LISTEN behind."""
    with listening(pooled.platform) as (listener, _):
        assert silence.wait(GUARD)
        assert not listener.listening
    channels = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = %s"
    assert pooled.query(channels, pooled.platform) == [(0,)]


def test_a_listener_that_hears_nothing_counts_on_nothing(
    pooled: Rig, silence: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler that looks like PostgreSQL is found out, since the test notification does not arrive."""
    monkeypatch.setattr(wakeup, "pool_mode", lambda _: PoolMode.NONE)
    monkeypatch.setattr(wakeup, "_PROOF", 1.0)
    with listening(pooled.platform) as (listener, _):
        assert silence.wait(GUARD)
        assert not listener.listening


def test_a_worker_says_once_that_it_polls(pooled: Rig) -> None:
    """The warning comes once, and the relay sends events at its poll interval."""
    pooled.ready_worker()
    pooled.until(lambda: "pool_mode = transaction" in pooled.log.read_text(), "the warning")
    for number in range(3):
        pooled.write(number)
        pooled.until(pooled.settled, "its effect")
    assert pooled.log.read_text().count("No notification arrives") == 1


@pytest.mark.parametrize(
    ("pooler", "mode"),
    [
        ({"sessions": 1}, PoolMode.TRANSACTION),
        ({"sessions": 3}, PoolMode.TRANSACTION),
        ({"sessions": 2, "server_round_robin": 1, "min_pool_size": 2}, PoolMode.TRANSACTION),
        ({"sessions": 50, "server_round_robin": 1, "min_pool_size": 20}, PoolMode.TRANSACTION),
        ({"sessions": 5, "pool_mode": "session"}, PoolMode.SESSION),
    ],
    indirect=["pooler"],
)
def test_the_mode_of_a_pooler_is_seen(pooled: Rig, mode: PoolMode) -> None:
    """The mode is found for any number of sessions and any order in which the pooler hands them out."""
    connect = partial(connect_outside_pool, connections[pooled.platform])
    assert [pool_mode(connect) for _ in range(20)] == [mode] * 20


def test_no_pooler_is_seen_too(rig: Rig) -> None:
    """The mode is NONE if PostgreSQL itself answers."""
    assert pool_mode(partial(connect_outside_pool, connections[rig.platform])) is PoolMode.NONE


@pytest.mark.parametrize(
    ("pooler", "mode"), [(BY_TRANSACTION, "transaction"), (BY_SESSION, "session")], indirect=["pooler"]
)
def test_the_limits_of_a_database_are_read_through_its_pooler(pooler: PgBouncer, postgres: Postgres, mode: str) -> None:
    """`bandstand check connections --database` reads ``max_connections`` and the mode through a pooler too."""
    found = read_limits(pooler.url("postgres"))
    assert (found.max_connections, found.pool_mode) == (200, mode)
    assert read_limits(postgres.url()).pool_mode == "none"


def test_a_database_that_is_not_there_is_named() -> None:
    """The error shows the form of a URL and holds no password."""
    with pytest.raises(ServerFailed, match="can't be asked") as failed:
        read_limits(f"postgresql://ann:hunter2@127.0.0.1:{held_port()}/shop")
    assert "hunter2" not in str(failed.value)
    assert "postgresql://user:password@host" in failed.value.hint
