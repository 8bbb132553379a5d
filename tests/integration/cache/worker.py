"""A process of a service that asks for one cached value again and again; prints what it did as JSON lines.

Arguments: URL of Redis, file that counts computations, seconds of one computation, seconds to run, reads a second,
time-out of the value in seconds, seconds that it may be stale, "free" to let everybody compute.
"""

import contextlib
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from django.conf import settings

URL, LOG, COMPUTE, SECONDS, RATE, TIMEOUT, STALE, PROTECTION = sys.argv[1:9]
THREADS = 8


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
                "OPTIONS": {"timeout": 0.5},
            }
        },
        BANDSTAND={"SERVICE": "user-service"},
    )
    django.setup()
    from bandstand.cache import DistributedCache, distributed

    if PROTECTION == "free":
        distributed.held = everybody
        distributed._flights = NoFlights()
    cache = DistributedCache("hot")
    end = time.monotonic() + float(SECONDS)
    pause = THREADS / float(RATE)

    def read(_: int) -> tuple[int, float, int]:
        count, worst, errors = 0, 0.0, 0
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                assert cache.get_or_set("key", compute, float(TIMEOUT), stale=float(STALE)) > 0
            except Exception:  # noqa: BLE001 - the test wants to know how many
                errors += 1
            worst = max(worst, time.monotonic() - began)
            count += 1
            time.sleep(pause)
        return count, worst, errors

    print("ready", flush=True)
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(read, range(THREADS)))
    print(
        json.dumps(
            {
                "reads": sum(count for count, _, _ in results),
                "worst": max(worst for _, worst, _ in results),
                "errors": sum(errors for _, _, errors in results),
            }
        )
    )


def compute() -> float:
    """Write down when this began and ended, where the test counts."""
    note("begin")
    time.sleep(float(COMPUTE))
    note("end")
    return time.time()


def note(what: str) -> None:
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), "thread": threading.get_ident()}) + "\n"
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
