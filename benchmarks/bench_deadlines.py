"""The cost of a deadline for a statement: Django's own backend, ours without and with a deadline, taken in turn.

Real PostgreSQL from the wheel, a small SELECT by its key through a pool of connections. What a deadline adds is the
difference of medians in each round. Processor time is the client's. Takes about 20 s.
"""

import statistics
from typing import Any

import django
from django.conf import settings

from report import Cost, Report, at_most, parser, reading

settings.configure(BANDSTAND={"SERVICE": "bench"}, USE_TZ=True, DATABASES={})
django.setup()

from django.db.utils import ConnectionHandler  # noqa: E402 - Django must be set up first

from bandstand.context import bind, new_context  # noqa: E402
from bandstand.testing import EphemeralPostgres  # noqa: E402

ROUNDS = 50
STATEMENTS = 100  # of each way in a round
ADDED = at_most(15)  # microseconds
SELECT = "SELECT id, name FROM things WHERE id = %s"


def connection(postgres: EphemeralPostgres, engine: str) -> Any:
    """Return a connection of that backend, under an alias of its own: Django keeps one pool for each alias."""
    database = {"ENGINE": engine, "NAME": "postgres", "USER": "postgres", "PASSWORD": postgres.password}
    place = {"HOST": "127.0.0.1", "PORT": postgres.port, "OPTIONS": {"pool": True}}
    return ConnectionHandler({"default": {}, engine: {**database, **place}})[engine]


def ask(cursor: Any, number: int) -> Cost:
    """Ask once and return the cost."""
    begun = reading()
    cursor.execute(SELECT, [number % 100])
    cursor.fetchone()
    return reading() - begun


class Way:
    """One way to ask: all its times in microseconds, and the median of each round."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.processor: list[float] = []
        self.medians: list[float] = []
        self.processor_medians: list[float] = []

    def add(self, costs: list[Cost]) -> None:
        """Add a round."""
        times = [1e6 * cost.seconds for cost in costs]
        self.times += times
        self.processor += [cost.processor for cost in costs]
        self.medians.append(statistics.median(times))
        self.processor_medians.append(1e6 * statistics.median(cost.processor for cost in costs))


def added(ours: list[float], theirs: list[float]) -> list[float]:
    """Return by how much ours took longer in each round."""
    return [mine - other for mine, other in zip(ours, theirs, strict=True)]


def measure(theirs: Any, ours: Any, rounds: int) -> dict[str, Way]:
    """Measure the three ways in turns, statement by statement."""
    found = {"django": Way(), "without": Way(), "with": Way()}
    with theirs.cursor() as plain, ours.cursor() as limited:
        for _ in range(rounds):
            costs: dict[str, list[Cost]] = {name: [] for name in found}
            for number in range(STATEMENTS):
                costs["django"].append(ask(plain, number))
                costs["without"].append(ask(limited, number))
                with bind(new_context(timeout=60)):
                    costs["with"].append(ask(limited, number))
            for name, way in found.items():
                way.add(costs[name])
    return found


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with EphemeralPostgres() as postgres:
        theirs, ours = (
            connection(postgres, "django.db.backends.postgresql"),
            connection(postgres, "bandstand.postgresql"),
        )
        with ours.cursor() as cursor:
            cursor.execute("CREATE TABLE things AS SELECT g AS id, 'thing ' || g AS name FROM generate_series(0, 99) g")
            cursor.execute("CREATE INDEX ON things (id)")
        measure(theirs, ours, 1)  # prepared statements
        found = measure(theirs, ours, 2 if report.quick else ROUNDS)
        for each in (theirs, ours):
            each.close()
            each.close_pool()
    base = found["django"]
    for name, way in found.items():
        processor = statistics.median(way.processor)
        beside = None if way is base else ("Django's backend", base.times)
        report.add(f"deadlines.{name}", way.times, "µs", processor=processor, to=beside)
    limited = found["with"]
    note = "(to Django's backend; rounds in pairs)"
    report.add("deadlines.with.added", added(limited.medians, base.medians), "µs", target=ADDED, note=note)
    processor = added(limited.processor_medians, base.processor_medians)
    report.add("deadlines.with.processor_added", processor, "µs", note=note)
    report.end()


if __name__ == "__main__":
    main()
