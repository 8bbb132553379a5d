"""The service under test: its handlers write an effect for each event that they handle.

What a handler does besides depends on the event, so that one worker serves many tests. Attempts are written outside
the handler's transaction, as a ledger must.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from django.db import connection

from bandstand.events import Message, publish, subscribe
from tests.integration.events.ledger.misbehaviours import LAZY, MISBEHAVIOURS
from tests.integration.events.ledger.shapes import Answered, Counted
from tests.waiting import until


def effect(subscription: str, number: int, message: Message) -> None:
    key = connection.ops.quote_name("key")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO effect (subscription, message_id, number, {key}, correlation_id, causation_id) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [subscription, message.id, number, message.key, message.correlation_id, message.causation_id],
        )


def attempt(subscription: str, message: Message) -> int:
    """Record an attempt; return which it is. In a file where the database has one writer at a time."""
    if connection.vendor != "postgresql":
        line = f"{subscription} {message.id}\n"
        with Path(os.environ["LEDGER_ATTEMPTS"]).open("a+") as file:
            file.write(line)
            file.flush()
            file.seek(0)
            return file.readlines().count(line)
    where = "FROM attempt WHERE subscription = %s AND message_id = %s"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        own.execute("INSERT INTO attempt (subscription, message_id) VALUES (%s, %s)", [subscription, message.id])
        row = own.execute(f"SELECT count(*) {where}", [subscription, message.id]).fetchone()
    return int(row[0]) if row else 0


def meet(attempts: int) -> None:
    """Wait until so many attempts have begun, in all processes."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        until(
            lambda: own.execute("SELECT count(*) >= %s FROM attempt", [attempts]).fetchone() == (True,),
            f"{attempts} attempts",
        )


def die(value: str, number: int, _message: Message) -> None:
    if number <= int(value):
        os._exit(9)


def fail(value: str, number: int, message: Message) -> None:
    if number <= int(value):
        raise ValueError(f"attempt {number} of {message.id}")


def fail_and_wait(value: str, number: int, message: Message) -> None:
    fail("1", number, message)
    until(Path(value).exists, "the test to open the gate")


ACTIONS: dict[str, Callable[[str, int, Message], object]] = {
    "wait": lambda value, *_: until(Path(value).exists, "the test to open the gate"),
    "sleep": lambda value, *_: time.sleep(float(value)),
    "meet": lambda value, *_: meet(int(value)),
    "die": die,
    "fail": fail,
    "fail-and-wait": fail_and_wait,
    "lazy": lambda *_: None,
    "misbehave": lambda value, *_: MISBEHAVIOURS[value](),
}
"""Actions that an event can ask of its handler: called with the text after the colon, the attempt and the message."""


@subscribe(os.environ.get("LEDGER_PATTERN", "number.counted"), name="counted")
def on_counted(event: dict, message: Message) -> None:  # type: ignore[type-arg]
    effect("counted", event["number"], message)
    action, _, value = event.get("do", "").partition(":")
    if action == "answer":
        publish(Answered(number=event["number"]), key=message.key)
    elif action:
        ACTIONS[action](value, attempt("counted", message), message)


@subscribe("number.*", name="watcher")
def on_any(event: dict, message: Message) -> None:  # type: ignore[type-arg]
    effect("watcher", event["number"], message)


@subscribe("number.counted", name="typed")
def on_typed(event: Counted, message: Message) -> None:
    """Reads with a view, so that what does not fit is found."""
    effect("typed", event.number, message)


if batch := os.environ.get("LEDGER_BATCH"):

    @subscribe("number.counted", name="batched", batch=int(batch))
    def on_many(events: list[dict], messages: list[Message]) -> None:  # type: ignore[type-arg]
        for event, message in zip(events, messages, strict=True):
            effect("batched", event["number"], message)
            if event.get("do") == "poison":
                raise ValueError(f"{event['number']} is poison")


if os.environ.get("LEDGER_LAZY"):

    @subscribe("number.counted", name="lazy")
    def on_lazy(event: dict) -> object:  # type: ignore[type-arg]
        """Returns something whose code has not run."""
        action, _, value = event.get("do", "").partition(":")
        return LAZY[value]() if action == "lazy" else None
