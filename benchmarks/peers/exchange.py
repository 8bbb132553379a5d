"""What the benchmark and a peer in its own environment say to each other: JSON on standard input and output."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Given:
    """Where the servers are, and the events to send."""

    broker: str
    nats: str
    database: str
    events: list[dict[str, Any]]

    @classmethod
    def read(cls) -> "Given":
        """Return what the benchmark gave."""
        return cls(**json.load(sys.stdin))


def answer(**seconds: float) -> None:
    """Give the benchmark the seconds for one event, by name."""
    sys.stdout.write(json.dumps(seconds) + "\n")


def measure_rows(events: list[dict[str, Any]], publish: Callable[[dict[str, Any]], object]) -> dict[str, float]:
    """Return the seconds of a transaction with one INSERT, plain and with an event; both take turns."""
    from django.db import connection, transaction

    def write(event: dict[str, Any] | None) -> float:
        begun = time.perf_counter()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO peers_order (name) VALUES ('an order')")
            if event is not None:
                publish(event)
        return time.perf_counter() - begun

    turns = [(write(None), write(event)) for event in events]
    plain, published = (statistics.median(times) for times in zip(*turns, strict=True))
    return {"plain": plain, "published": published}


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
