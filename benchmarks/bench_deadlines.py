"""What a deadline costs a statement: Django's own backend, ours without and with a deadline, taken in turn.

Claim (docs/reference/postgresql.md): no further round trip, and so many microseconds of a small SELECT.
"""

import statistics
import sys
import time
from typing import Any

import django
from django.conf import settings

settings.configure(BANDSTAND={"SERVICE": "bench"}, USE_TZ=True, DATABASES={})
django.setup()

from django.db.utils import ConnectionHandler  # noqa: E402 - Django must be set up first

from bandstand.context import bind, new_context  # noqa: E402
from bandstand.testing import EphemeralPostgres  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
SELECT = "SELECT id, name FROM things WHERE id = %s"


def connection(postgres: EphemeralPostgres, engine: str) -> Any:
    database = {"ENGINE": engine, "NAME": "postgres", "USER": "postgres", "PASSWORD": postgres.password}
    place = {"HOST": "127.0.0.1", "PORT": postgres.port, "OPTIONS": {"pool": True}}
    return ConnectionHandler({"default": {**database, **place}})["default"]


def ask(cursor: Any, number: int) -> float:
    began = time.perf_counter()
    cursor.execute(SELECT, [number % 100])
    cursor.fetchone()
    return (time.perf_counter() - began) * 1e6


def main() -> None:
    with EphemeralPostgres() as postgres:
        theirs, ours = (
            connection(postgres, "django.db.backends.postgresql"),
            connection(postgres, "bandstand.postgresql"),
        )
        with ours.cursor() as cursor:
            cursor.execute("CREATE TABLE things AS SELECT g AS id, 'thing ' || g AS name FROM generate_series(0, 99) g")
            cursor.execute("CREATE INDEX ON things (id)")
        times: dict[str, list[float]] = {"django": [], "without a deadline": [], "with a deadline": []}
        with theirs.cursor() as plain, ours.cursor() as limited:
            for number in range(ROUNDS):
                times["django"].append(ask(plain, number))
                times["without a deadline"].append(ask(limited, number))
                with bind(new_context(timeout=60)):
                    times["with a deadline"].append(ask(limited, number))
        for each in (theirs, ours):
            each.close()
            each.close_pool()
    base = statistics.median(times["django"])
    for name, values in times.items():
        median = statistics.median(values)
        fast = statistics.quantiles(values, n=10)[0]
        print(f"{name:<20} median {median:7.1f} µs  p10 {fast:7.1f} µs  {median / base:.2f}")


if __name__ == "__main__":
    main()
