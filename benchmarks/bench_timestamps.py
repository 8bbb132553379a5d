"""The time that a timestamp takes from PostgreSQL's message to Python: Django's own backend and ours, in turns.

Real PostgreSQL from the wheel. A SELECT of 1,000 timestamps, less one of 1,000 integers, divided by 1,000: so what is
left is the reading of the values. Processor time is the client's. Takes about 15 s.
"""

import statistics
from typing import Any

from bandstand.testing import EphemeralPostgres
from bench_deadlines import connection
from report import Report, at_most, parser, reading

ROWS = 1_000
ROUNDS = 300
TARGET = at_most(0.5)  # of Django's backend


def fetch(cursor: Any, column: str) -> float:
    """Return the microseconds of processor time that a SELECT of the column takes this process."""
    begun = reading()
    cursor.execute(f"SELECT {column} FROM moments")
    cursor.fetchall()
    return 1e6 * (reading() - begun).processor


def read(cursor: Any) -> float:
    """Return the microseconds for one timestamp."""
    return (fetch(cursor, "at") - fetch(cursor, "id")) / ROWS


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with EphemeralPostgres() as postgres:
        backends = {
            name: connection(postgres, name) for name in ("django.db.backends.postgresql", "bandstand.postgresql")
        }
        with next(iter(backends.values())).cursor() as cursor:
            cursor.execute(
                "CREATE TABLE moments AS SELECT g AS id, now() - g * interval '1 s' AS at"
                f" FROM generate_series(1, {ROWS}) g"
            )
        times: dict[str, list[float]] = {name: [] for name in backends}
        for _ in range(3 if report.quick else ROUNDS):
            for name, backend in backends.items():
                with backend.cursor() as cursor:
                    times[name].append(read(cursor))
        for backend in backends.values():
            backend.close()
            backend.close_pool()
    theirs, ours = times.values()
    report.add("timestamps.django", theirs, "µs", processor=statistics.median(theirs) / 1e6)
    report.add("timestamps.bandstand", ours, "µs", processor=statistics.median(ours) / 1e6)
    shares = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    report.add("timestamps.share", shares, "of Django's", target=TARGET, note="(rounds in pairs)")
    report.end()


if __name__ == "__main__":
    main()
