"""A row is in the outbox if and only if its transaction committed, in whatever shape the application wrote it.

Random programs of nested blocks, savepoints, errors, deadlines and lost connections write marks, each beside an event.
What another connection sees afterwards must be the same marks and events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, InterfaceError, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bandstand import failpoints
from bandstand.context import bind, new_context
from bandstand.events import publish
from bandstand.exceptions import DeadlineExceeded, EventError, InvalidEvent
from bandstand.failpoints import FailPoint
from tests.integration.events.conftest import Rig
from tests.integration.events.ledger.shapes import Counted

Step = tuple[Any, ...]
"""The name of a method of ``Program`` with its arguments."""

EXPECTED = (
    DatabaseError,
    InterfaceError,
    psycopg.Error,
    DeadlineExceeded,
    EventError,
    transaction.TransactionManagementError,
)


class Interrupted(Exception):
    """An exception that an application raises to undo a block."""


class Program:
    """Runs steps on the rig's connection."""

    def __init__(self, rig: Rig) -> None:
        self.alias = rig.platform
        self.connection: Any = connections[rig.platform]
        self.numbers = iter(range(1, 1_000_000))

    def run(self, steps: list[Step]) -> None:
        for name, *arguments in steps:
            getattr(self, name)(*arguments)

    def execute(self, statement: str, *parameters: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)

    def mark_and_publish(self, mark_first: bool) -> None:
        """The two belong together, so an error of either undoes both, as an application that catches it has to."""
        number = next(self.numbers)

        def mark() -> None:
            self.execute("INSERT INTO written VALUES (%s)", number)

        def announce() -> None:
            publish(Counted(number=number), key=str(number))

        works: list[Callable[[], None]] = [mark, announce] if mark_first else [announce, mark]
        with transaction.atomic(using=self.alias):
            for work in works:
                work()

    def block(self, steps: list[Step], savepoint: bool, fails: bool) -> None:
        with transaction.atomic(using=self.alias, savepoint=savepoint):
            self.run(steps)
            if fails:
                raise Interrupted

    def caught(self, steps: list[Step]) -> None:
        with contextlib.suppress(Interrupted, *EXPECTED):
            self.run(steps)

    def savepoint(self, steps: list[Step], undone: bool) -> None:
        """Use a savepoint by Django's low-level functions."""
        sid = transaction.savepoint(using=self.alias)
        self.run(steps)
        (transaction.savepoint_rollback if undone else transaction.savepoint_commit)(sid, using=self.alias)

    def marked(self) -> None:
        transaction.set_rollback(True, using=self.alias)

    def refused_event(self) -> None:
        with contextlib.suppress(InvalidEvent):
            publish(Counted(number=1), key="")

    def refused_statement(self) -> None:
        self.execute("SELECT 1 / 0")

    def statement(self) -> None:
        self.execute("SELECT 1")

    def deadline(self, steps: list[Step], seconds: float) -> None:
        with bind(new_context(timeout=seconds)):
            self.run(steps)

    def committed_by_the_driver(self) -> None:
        if self.connection.connection is not None:
            self.connection.connection.commit()

    def committed_by_statement(self) -> None:
        self.execute("COMMIT")

    def lost(self) -> None:
        """The server ends the session."""
        if self.connection.connection is None or self.connection.connection.closed:
            return
        with psycopg.connect(**self.connection.get_connection_params(), autocommit=True) as other:
            process = self.connection.connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])

    def closed(self) -> None:
        self.connection.close()


def blocks(inner: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[Step]:
    return st.one_of(
        st.tuples(st.just("block"), inner, st.booleans(), st.booleans()),
        st.tuples(st.just("caught"), inner),
        st.tuples(st.just("savepoint"), inner, st.booleans()),
        st.tuples(st.just("deadline"), inner, st.sampled_from([0.0, 600.0])),
    )


WRITES: st.SearchStrategy[Step] = st.tuples(st.just("mark_and_publish"), st.booleans())
OTHERS: st.SearchStrategy[Step] = st.sampled_from(
    [
        (name,)
        for name in (
            "marked",
            "refused_event",
            "refused_statement",
            "statement",
            "committed_by_the_driver",
            "committed_by_statement",
            "lost",
            "closed",
        )
    ]
)
PROGRAMS = st.recursive(
    st.lists(st.one_of(WRITES, WRITES, WRITES, OTHERS), max_size=5),
    lambda inner: st.lists(st.one_of(WRITES, blocks(inner), blocks(inner), OTHERS), max_size=5),
    max_leaves=30,
)


@pytest.fixture(scope="module", params=["bandstand.postgresql", "django.db.backends.postgresql"])
def database(
    postgres: Any, nats: Any, template: str, django_db_blocker: Any, request: pytest.FixtureRequest
) -> Iterator[Rig]:
    with django_db_blocker.unblock(), contextlib.closing(Rig(postgres, nats, template, engine=request.param)) as made:
        yield made


def differences(rig: Rig, steps: list[Step]) -> list[Any]:
    """Run ``steps`` in a transaction; return the numbers that only the marks or only the outbox has."""
    rig.query("TRUNCATE written, bandstand_outbox")
    with contextlib.suppress(Interrupted, *EXPECTED):
        Program(rig).block(steps, True, False)
    connections[rig.platform].close()
    return rig.query(
        "SELECT number, key FROM written FULL JOIN bandstand_outbox ON key = number::text "
        "WHERE number IS NULL OR key IS NULL"
    )


@given(steps=PROGRAMS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_an_event_lasts_exactly_if_its_transaction_does(database: Rig, steps: list[Step]) -> None:
    """The rule holds for commits and rollbacks by Django and past it."""
    assert differences(database, steps) == []


def test_tooth_a_lost_row_is_seen(database: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the INSERT of publish() a mark is alone."""
    monkeypatch.setitem(failpoints._points, "publish.insert", FailPoint("off"))
    assert differences(database, [("mark_and_publish", True)]) == [(1, None)]
