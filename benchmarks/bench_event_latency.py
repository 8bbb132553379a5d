"""From the commit of an event to its handler in another process, at rest: one event now and then, nothing waiting.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker` that relays and handles. Each
event is timed from just before its COMMIT to the first line of its handler, on the clock of this machine, so the flush
of the commit itself is part of it. Prints a table and one JSON object a line. Takes about 20 s.
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.integration.servers import Nats, Postgres, tied  # noqa: E402 - the path has to be set first

LIMIT = 100.0  # milliseconds, p99
EVENTS = 500
PAUSE = 0.02
WARM_UP = 20

SERVICE = """
import time
from django.db import connection
from bandstand.events import Event, subscribe

class Timed(Event, type="bench.timed", version=1):
    number: int

@subscribe("bench.timed", name="bench")
def timed(event: Timed) -> None:
    now = time.time()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO handled VALUES (%s, %s)", [event.number, now])
"""
SETTINGS = """
import os, dj_database_url
SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "bandstand.events", "bench_service"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], engine="bandstand.postgresql")}
DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 8, "timeout": 5}}
BANDSTAND = {"SERVICE": "bench-service", "PLATFORM": "bench", "EVENTS": {"BROKER_URL": os.environ["BROKER_URL"]}}
"""


def prepare(folder: Path, postgres: Postgres, nats: Nats) -> None:
    """Make a service in ``folder`` and point this process and its children to it."""
    (folder / "bench_service").mkdir()
    (folder / "bench_service" / "__init__.py").touch()
    (folder / "bench_service" / "events.py").write_text(SERVICE)
    (folder / "bench_settings.py").write_text(SETTINGS)
    sys.path.insert(0, str(folder))
    os.environ.update(
        DATABASE_URL=postgres.url(),
        BROKER_URL=nats.url(),
        DJANGO_SETTINGS_MODULE="bench_settings",
        PYTHONPATH=str(folder),
        BANDSTAND_READY_FILE=str(folder / "ready"),
    )
    postgres.execute("CREATE TABLE handled (number int, at float8)")


def start_worker(folder: Path) -> "subprocess.Popen[bytes]":
    log = (folder / "log").open("wb")
    command = tied([sys.executable, "-m", "django", "worker"])
    worker = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while not (folder / "ready").exists():
        if worker.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"The worker did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
    return worker


def publish_all() -> dict[int, float]:
    """Publish the events one by one; return when each was committed."""
    import django
    from django.core.management import call_command
    from django.db import transaction

    django.setup()
    call_command("migrate", verbosity=0)
    from bench_service.events import Timed

    from bandstand.events import publish

    committed: dict[int, float] = {}
    worker = start_worker(Path(os.environ["PYTHONPATH"]))
    try:
        for number in range(WARM_UP + EVENTS):
            with transaction.atomic():
                publish(Timed(number=number), key=str(number % 50))
                committed[number] = time.time()
            time.sleep(PAUSE)
        time.sleep(1.0)
    finally:
        worker.terminate()
        worker.wait(20)
    return committed


def main() -> None:
    """Measure, print, and say the machine."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Postgres()) as postgres,
        contextlib.closing(Nats()) as nats,
    ):
        postgres.start()
        nats.start()
        prepare(Path(folder), postgres, nats)
        committed = publish_all()
        handled = dict(postgres.execute("SELECT number, at FROM handled"))
    measured = sorted(1000 * (handled[number] - committed[number]) for number in range(WARM_UP, WARM_UP + EVENTS))
    p50, p99 = statistics.median(measured), measured[int(len(measured) * 0.99)]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(f"machine: {machine}, load {os.getloadavg()[0]:.1f}")
    print(
        f"commit to handler, {EVENTS} events at rest: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {measured[-1]:.1f} ms"
    )
    for name, value in (("events.latency.p50", p50), ("events.latency.p99", p99)):
        ratio = round(value / LIMIT, 3)
        print(json.dumps({"name": name, "value": round(value, 2), "unit": "ms", "ratio_to": "limit", "ratio": ratio}))
    if p99 > LIMIT:
        sys.exit(f"p99 is {p99:.1f} ms, above the limit of {LIMIT:.0f} ms.")


if __name__ == "__main__":
    main()
