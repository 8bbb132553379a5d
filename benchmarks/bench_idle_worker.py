"""What a worker costs that has nothing to do: its share of a core, and the queries that it asks a second.

Real PostgreSQL and NATS JetStream from the wheels, a real `manage.py worker` that relays and consumes, watched for 20 s
after 3 s of rest. Queries are counted in PostgreSQL's own log of all statements; the
benchmark asks nothing in that time. Takes about 27 s.
"""

import re
import time
from collections import Counter

from event_rig import Report, processor_seconds, service, started, worker
from tests.integration.servers import Nats, Postgres

REST = 3.0
WATCHED = 20.0
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.{0,60})")


def statements(postgres: Postgres) -> list[str]:
    """Return what PostgreSQL has logged, each statement by its beginning."""
    return STATEMENT.findall((postgres.folder / "log").read_text(errors="replace"))


def watch(postgres: Postgres, pid: int) -> tuple[float, list[str]]:
    """Return the share of a core, and the statements."""
    time.sleep(REST)
    known, used, begun = len(statements(postgres)), processor_seconds(pid), time.monotonic()
    time.sleep(WATCHED)
    share = (processor_seconds(pid) - used) / (time.monotonic() - begun)
    return share, statements(postgres)[known:]


def main() -> None:
    """Measure, print, and say the machine."""
    report = Report()
    with started(Nats()) as nats, service(nats.url()) as postgres:
        postgres.execute("ALTER SYSTEM SET log_statement = 'all'")
        postgres.execute("SELECT pg_reload_conf()")
        with worker() as process:
            share, asked = watch(postgres, process.pid)
    report.add("events.idle.processor", 100 * share, "% of core", to=("limit of 1 %", 1.0), target="at most 1 %")
    rate = len(asked) / WATCHED
    report.add("events.idle.queries", rate, "1/s", to=("limit of 1 a second", 1.0), target="at most 1")
    for statement, count in Counter(asked).most_common(8):
        print(f"    {count:4} × {statement}")
    report.end()


if __name__ == "__main__":
    main()
