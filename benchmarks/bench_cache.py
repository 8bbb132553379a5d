"""What one operation of the cache costs beside raw redis-py, Django's own backend, and no cache at all.

All ways ask one Valkey over loopback, take turns in short rounds, and get a value of about 1 kB; figures are medians of
the rounds, at 1 thread. django-redis and django-valkey are measured when they are installed. Prints a table and one
JSON object a line. Takes about 20 s.
"""

import importlib.util
import json
import os
import platform
import secrets
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import redis
from django.conf import settings

from bandstand.workspace.runtime.binaries import find_valkey

ROUND = 300
BUDGET = 18.0  # seconds
LIMIT = 1.0  # of raw redis-py's time for the same bytes
VALUE: dict[str, Any] = {
    "id": "0190163d-8694-739b-aea5-966c26f8ad91",
    "price": "19.90",
    "name": "A product of the catalogue",
    "description": "x" * 700,
    "tags": [f"tag-{number}" for number in range(20)],
    "inventory_count": 42,
}
TYPED = {**VALUE, "price": Decimal("19.90"), "tags": tuple(VALUE["tags"])}
PEERS = {"django-redis": "django_redis.cache.RedisCache", "django-valkey": "django_valkey.cache.ValkeyCache"}


@contextmanager
def valkey() -> Iterator[int]:
    """Run a server that keeps nothing and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(find_valkey()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.1).close()
                    break
                except OSError:
                    time.sleep(0.01)
            yield port
        finally:
            process.kill()
            process.wait()


def configure(port: int) -> list[str]:
    """Set Django up with all backends that are installed; return the names of the peers."""
    url = f"redis://127.0.0.1:{port}/0"
    installed = [name for name in PEERS if importlib.util.find_spec(PEERS[name].partition(".")[0])]
    settings.configure(
        SECRET_KEY=secrets.token_hex(),
        USE_TZ=True,
        BANDSTAND={"SERVICE": "benchmark"},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={
            "default": {
                "BACKEND": "bandstand.cache.ResilientRedisCache",
                "LOCATION": url,
                "KEY_PREFIX": "benchmark",
                "OPTIONS": {"timeout": 1.0},
            },
            "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url},
            **{name: {"BACKEND": PEERS[name], "LOCATION": url} for name in installed},
        },
    )
    import django

    django.setup()
    return installed


def ways(port: int, peers: list[str]) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name; the first is what all others are compared with."""
    from django.core.cache import caches

    from bandstand.cache import DistributedCache, cache_result

    raw = redis.Redis(port=port, socket_timeout=1.0)
    raw.set("raw", json.dumps(VALUE))
    found: dict[str, Callable[[], object]] = {"redis-py get, undecoded": lambda: raw.get("raw")}
    for name, alias in {"ResilientRedisCache": "default", "Django RedisCache": "django"}.items():
        cache = caches[alias]
        cache.set("key", VALUE, 600)
        found[f"{name} get"] = lambda cache=cache: cache.get("key")
        found[f"{name} set"] = lambda cache=cache: cache.set("key", VALUE, 600)
    for name in peers:
        caches[name].set("key", VALUE, 600)
        found[f"{name} get"] = lambda cache=caches[name]: cache.get("key")
    caches["default"].set("typed", TYPED, 600)
    found["ResilientRedisCache get, typed values"] = lambda: caches["default"].get("typed")
    kept = DistributedCache("benchmark")
    kept.set("key", VALUE, 600)
    kept.set("tagged", VALUE, 600, tags=["one", "two"])
    found["DistributedCache get_or_set, hit"] = lambda: kept.get_or_set("key", dict, 600)
    found["DistributedCache get_or_set, hit, 2 tags"] = lambda: kept.get_or_set(
        "tagged", dict, 600, tags=["one", "two"]
    )

    @cache_result(timeout=600)
    def product(product_id: str, currency: str = "EUR") -> dict[str, Any]:  # noqa: ARG001 - they make the key
        return VALUE

    found["cache_result, hit"] = lambda: product("42")
    down = caches.create_connection("default")
    down.__dict__["_cache"] = type(caches["default"]._cache)(["redis://127.0.0.1:1/0"])
    for _ in range(10):
        down.get("key")
    found["ResilientRedisCache get, cut out"] = lambda: down.get("key")
    return found


def measure(found: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median time of each in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in found}
    end = time.perf_counter() + BUDGET
    while time.perf_counter() < end:
        for name, way in found.items():
            began = time.perf_counter()
            for _ in range(ROUND):
                way()
            times[name].append((time.perf_counter() - began) / ROUND * 1e6)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    with valkey() as port:
        medians = measure(ways(port, configure(port)))
    base = next(iter(medians))
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(f"machine: {machine}, redis-py {redis.__version__}")
    print(f"{'operation':42} {'µs':>8} {'to redis-py':>12}")
    for name, value in medians.items():
        print(f"{name:42} {value:8.1f} {value / medians[base]:12.2f}")
    for name, value in medians.items():
        line = {"name": f"cache.{name}", "value": round(value, 1), "unit": "us", "ratio_to": f"cache.{base}"}
        print(json.dumps({**line, "ratio": round(value / medians[base], 3)}))
    reached = medians["ResilientRedisCache get"] / medians[base]
    verdict = "ok" if reached <= LIMIT else "MISSED"
    print(f"ResilientRedisCache get: {reached:.2f} of redis-py's time (limit {LIMIT}): {verdict}")


if __name__ == "__main__":
    main()
