"""The exchange between the benchmark and a peer in its own environment: JSON on standard input and output."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Message = tuple[str, dict[str, Any]]
"""An id, new in each round so that no broker takes the message for a duplicate, and the event."""

Figure = dict[str, list[float]]
"""Of each round: ``seconds`` and ``processor``, both for one event."""

THREADS = 8


@dataclass(frozen=True)
class Given:
    """Where the servers are, the events to send, and how often."""

    broker: str
    nats: str
    database: str
    events: list[dict[str, Any]]
    rounds: int
    in_flight: int

    @classmethod
    def read(cls) -> "Given":
        """Return what the benchmark gave."""
        return cls(**json.load(sys.stdin))

    def measure(self, send: Callable[[list[Message]], object], share: int = 1) -> Figure:
        """Return what ``send`` takes for each event, after a short round that counts for nothing.

        ``share`` makes the rounds shorter, for what is slow.
        """
        send(self._messages("first", self.events[:50]))
        events = self.events[: len(self.events) // share]
        rounds = [self._messages(str(number), events) for number in range(self.rounds)]
        return figure(timed(lambda messages=messages: send(messages), len(events)) for messages in rounds)

    @staticmethod
    def _messages(turn: str, events: list[dict[str, Any]]) -> list[Message]:
        return [(f"{event['id']}-{turn}", event) for event in events]


def in_threads(send: Callable[[list[Message]], object]) -> Callable[[list[Message]], object]:
    """Return what sends from 8 threads, as a web process with as many would."""
    threads = ThreadPoolExecutor(THREADS)

    def send_together(messages: list[Message]) -> None:
        list(threads.map(send, [messages[first::THREADS] for first in range(THREADS)]))

    return send_together


def timed(work: Callable[[], object], count: int = 1) -> tuple[float, float]:
    """Return the seconds by the clock and of processor time, each divided by ``count``."""
    begun, processor = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - begun) / count, (time.process_time() - processor) / count


def figure(turns: Iterable[tuple[float, float]]) -> Figure:
    """Return seconds and processor time of rounds."""
    seconds, processor = zip(*turns, strict=True)
    return {"seconds": list(seconds), "processor": list(processor)}


def answer(**figures: Figure) -> None:
    """Give the benchmark the figures, by name."""
    sys.stdout.write(json.dumps(figures) + "\n")


def measure_rows(events: list[dict[str, Any]], publish: Callable[[dict[str, Any]], object]) -> dict[str, Figure]:
    """Return the figures of a transaction with one INSERT, plain and with an event; both take turns."""
    from django.db import connection, transaction

    def write(event: dict[str, Any] | None) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO peers_order (name) VALUES ('an order')")
            if event is not None:
                publish(event)

    turns = [(timed(lambda: write(None)), timed(lambda event=event: write(event))) for event in events]
    plain, published = zip(*turns, strict=True)
    return {"plain": figure(plain), "published": figure(published)}


def django_with(given: Given, apps: list[str], **settings: Any) -> None:
    """Set Django up on the database, with the tables of ``apps``."""
    import django
    from django.conf import settings as django_settings
    from django.core.management import call_command

    place = urlsplit(given.database)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": place.path[1:],
        "USER": place.username,
        "PASSWORD": place.password,
        "HOST": place.hostname,
        "PORT": place.port,
        "CONN_MAX_AGE": None,
    }
    django_settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        INSTALLED_APPS=apps,
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        **settings,
    )
    django.setup()
    call_command("migrate", verbosity=0)
