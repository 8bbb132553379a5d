"""The service under test: it counts numbers, and its handlers write an effect for each that they handle.

What a handler does besides depends on the event, so that one worker serves all tests.
"""

import os
import time

from django.db import connection

from bandstand.events import Event, Message, publish, subscribe


class Counted(Event, type="number.counted", version=1):
    number: int
    do: str = ""


class Answered(Event, type="number.answered", version=1):
    number: int


def effect(subscription: str, event: "Counted | Answered", message: Message) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO effect (subscription, message_id, number, key, correlation_id, lag) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [
                subscription,
                message.id,
                event.number,
                message.key,
                message.correlation_id,
                time.time() - message.time.timestamp(),
            ],
        )


def attempted(subscription: str, message: Message) -> int:
    """Count attempts outside the transaction, as a ledger must; return the number of this one."""
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        own.execute("INSERT INTO attempt (subscription, message_id) VALUES (%s, %s)", [subscription, message.id])
        row = own.execute(
            "SELECT count(*) FROM attempt WHERE subscription = %s AND message_id = %s", [subscription, message.id]
        ).fetchone()
        return int(row[0]) if row else 0


@subscribe("number.counted", name="counted")
def on_counted(event: Counted, message: Message) -> None:
    effect("counted", event, message)
    if not event.do:
        return
    attempts = attempted("counted", message)
    action, _, value = event.do.partition(":")
    if action == "sleep":
        time.sleep(float(value))
    elif action == "die":
        os._exit(9)
    elif action == "fail" and attempts <= int(value):
        raise ValueError(f"attempt {attempts} of {message.id}")
    elif action == "answer":
        publish(Answered(number=event.number), key=message.key)


@subscribe("number.*", name="watcher")
def on_any(event: dict, message: Message) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO effect (subscription, message_id, number, key) VALUES ('watcher', %s, %s, %s)",
            [message.id, event["number"], message.key],
        )
