"""The cost of a worker that has nothing to do: its share of a core, and the queries that it asks a second.

Real PostgreSQL and NATS JetStream from the wheels, a real `manage.py worker` that relays and consumes, watched three
times for 20 s after 3 s of rest. Queries are counted in PostgreSQL's own log of all statements; the
benchmark asks nothing in that time. Takes about 70 s.
"""

import re
import time
from collections import Counter

from event_rig import service, started, worker
from report import Report, at_most, parser, processor_seconds
from tests.integration.servers import Nats, Postgres

REST = 3.0
WATCHED = 20.0
ROUNDS = 3
SHARE, QUERIES = at_most(1), at_most(1)  # per cent of a core; a second
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.{0,60})")


def statements(postgres: Postgres) -> list[str]:
    """Return what PostgreSQL has logged, each statement by its beginning."""
    return STATEMENT.findall((postgres.folder / "log").read_text(errors="replace"))


def watch(postgres: Postgres, pid: int, seconds: float) -> tuple[float, list[str]]:
    """Return the share of a core, in per cent, and the statements."""
    known, used, begun = len(statements(postgres)), processor_seconds(pid), time.monotonic()
    time.sleep(seconds)
    share = (processor_seconds(pid) - used) / (time.monotonic() - begun)
    return 100 * share, statements(postgres)[known:]


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    rest, watched, rounds = (0.5, 1.0, 1) if report.quick else (REST, WATCHED, ROUNDS)
    with started(Nats()) as nats, service(nats.url()) as postgres:
        postgres.execute("ALTER SYSTEM SET log_statement = 'all'")
        postgres.execute("SELECT pg_reload_conf()")
        with worker() as process:
            time.sleep(rest)
            found = [watch(postgres, process.pid, watched) for _ in range(rounds)]
    report.add("events.idle.processor", [share for share, _ in found], "% of core", target=SHARE)
    report.add("events.idle.queries", [len(asked) / watched for _, asked in found], "1/s", target=QUERIES)
    for statement, count in Counter(statement for _, asked in found for statement in asked).most_common(8):
        print(f"    {count:4} × {statement}")
    report.end()


if __name__ == "__main__":
    main()
