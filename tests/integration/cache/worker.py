"""A process of a service that asks for one cached value again and again, until its standard input is closed.

It prints what it did as JSON, after at least some reads of each thread: a busy machine takes longer for them.
Arguments: URL of Redis, file that tells of computations, seconds of one computation, and of the very first of all,
reads a second, time-out of the value in seconds, seconds of a lease, "free" to let everybody compute.
"""

import contextlib
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from tests.waiting import GUARD

URL, LOG, COMPUTE, FIRST, RATE, TIMEOUT, LEASE, PROTECTION = sys.argv[1:9]
THREADS = 8
LEAST = 50  # reads of each thread


def main() -> None:
    settings.configure(
        SECRET_KEY="tests",
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={
            "default": {
                "BACKEND": "bandstand.cache.ResilientRedisCache",
                "LOCATION": URL,
                "KEY_PREFIX": "user-service",
                "OPTIONS": {"timeout": GUARD},
            }
        },
        BANDSTAND={"SERVICE": "user-service"},
    )
    django.setup()
    from bandstand.cache import DistributedCache, distributed, leases

    leases.LEASE, leases._keeper = float(LEASE), leases.Keeper(float(LEASE) / 3)
    if PROTECTION == "free":
        distributed.held = everybody
        distributed._flights = NoFlights()
    cache = DistributedCache("hot")
    pause = THREADS / float(RATE)

    def read(_: int) -> tuple[int, int]:
        count, errors = 0, 0
        while count < LEAST or not over.is_set():
            try:
                assert cache.get_or_set("key", compute, float(TIMEOUT)) > 0
            except Exception:  # noqa: BLE001 - the test wants to know how many
                errors += 1
            count += 1
            time.sleep(pause)
        return count, errors

    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    note("ready")
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(read, range(THREADS)))
    print(json.dumps({"reads": sum(count for count, _ in results), "errors": sum(errors for _, errors in results)}))


def compute() -> float:
    """Write down when this began and ended, where the test counts."""
    seconds = FIRST if '"begin"' not in Path(LOG).read_text() else COMPUTE
    note("begin")
    time.sleep(float(seconds))
    note("end")
    return time.time()


def note(what: str) -> None:
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid()}) + "\n"
    descriptor = os.open(LOG, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@contextlib.contextmanager
def everybody(*_: Any) -> Any:
    yield True


class NoFlights:
    def share(self, _key: str, work: Any, **_: Any) -> Any:
        return work()

    def lead(self, _key: str, work: Any, **_: Any) -> Any:
        return work()


if __name__ == "__main__":
    main()
