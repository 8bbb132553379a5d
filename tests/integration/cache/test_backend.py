import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache
from pytest_django.fixtures import Settings

from bandstand.cache import ResilientRedisCache
from bandstand.cache import client as clients
from bandstand.context import REGISTRY
from tests.clock import Clock
from tests.waiting import GUARD

from .server import SERVICE, Valkey, black_hole

pytestmark = pytest.mark.integration

VALUE = {"price": Decimal("19.90"), "at": datetime(2026, 1, 1, tzinfo=UTC), "ids": (UUID(int=1), b"\x00", None)}


def counted(operation: str, result: str) -> float:
    return (
        REGISTRY.get_sample_value("bandstand_cache_operations_total", {"operation": operation, "result": result}) or 0.0
    )


def test_values_come_back_as_what_they_were(cache: Any) -> None:
    """Through a real server, alone and with others."""
    cache.set("a", VALUE)
    assert cache.get("a") == VALUE
    assert cache.set_many({"b": None, "c": 5}) == []
    assert cache.get_many(["a", "b", "c", "missing"]) == {"a": VALUE, "b": None, "c": 5}
    assert cache.get("b", "default") is None
    assert cache.get("missing", "default") == "default"


def test_the_operations_of_djangos_cache(cache: Any) -> None:
    """They do what Django's own backend does."""
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False
    assert cache.incr("a", 5) == 6
    assert cache.decr("a") == 5
    with pytest.raises(ValueError):
        cache.incr("missing")
    assert cache.has_key("a")
    assert "missing" not in cache
    assert cache.touch("a", 100)
    assert not cache.touch("missing", 100)
    assert cache.touch("a", None)
    assert cache.get_or_set("new", lambda: 7) == 7
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.set_many({"x": 1, "y": 2})
    cache.delete_many(["x", "missing"])
    assert cache.get_many(["x", "y"]) == {"y": 2}
    cache.set("y", 3, timeout=0)
    assert cache.get("y") is None
    assert cache.add("zero", 1, timeout=0) is True
    assert cache.get("zero") is None
    cache.set("v", 1, version=2)
    assert cache.get("v") is None
    assert cache.incr_version("v", version=2) == 3
    assert cache.get("v", version=3) == 1


async def _async_operations(cache: Any) -> None:
    await cache.aset("a", VALUE)
    assert await cache.aget("a") == VALUE


def test_async_operations(cache: Any) -> None:
    """Django's async names work."""
    import asyncio

    asyncio.run(_async_operations(cache))


def test_times_are_kept(cache: Any, valkey: Valkey) -> None:
    """With a time a key ends, without one it stays."""
    cache.set("short", 1, 6000)
    cache.set("ever", 1, None)
    cache.set_many({"many": 1}, 6000)
    with valkey.admin() as admin:
        assert 5000 <= admin.ttl(f"{SERVICE}:1:short") <= 6000
        assert 5000 <= admin.ttl(f"{SERVICE}:1:many") <= 6000
        assert admin.ttl(f"{SERVICE}:1:ever") == -1


def test_a_counter_that_expired_does_not_come_back_without_end(cache: Any, valkey: Valkey) -> None:
    """To count is one step: between a look and an increment a key might expire and be made anew, for ever."""
    with pytest.raises(ValueError):
        cache.incr("gone")
    with valkey.admin() as admin:
        assert admin.exists(f"{SERVICE}:1:gone") == 0


def test_a_service_reaches_its_own_keys_alone(cache: Any, valkey: Valkey, settings: Settings) -> None:
    """Its user in Redis refuses others; clear() deletes its own and leaves theirs."""
    with valkey.admin() as admin:
        admin.set("other-service:1:k", "theirs")
        for number in range(1500):
            admin.set(f"{SERVICE}:1:{number}", "ours")
        assert cache.clear() is True
        assert admin.keys("*") == [b"other-service:1:k"]
    thief = ResilientRedisCache(valkey.url(), {"KEY_PREFIX": "other-service", "OPTIONS": {"timeout": GUARD}})
    thief.set("k", "stolen")
    assert thief.get("k") is None
    with valkey.admin() as admin:
        assert admin.get("other-service:1:k") == b"theirs"


class Bomb:
    """What a pickle of this does when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_what_is_found_in_redis_is_never_run(cache: Any, valkey: Valkey, tmp_path: Path) -> None:
    """A pickle, valid JSON by hand, a value of another key, a changed value: each a miss, and counted."""
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    with valkey.admin() as admin:
        cache.set("honest", {"is_staff": False})
        honest = admin.get(f"{SERVICE}:1:honest")
        forgeries = [
            bomb,
            b'{"is_staff": true}',
            honest,
            honest.replace(b"false", b"true "),
            honest[:-1],
            b"",
            b"\x01",
        ]
        before = counted("get", "tampered"), counted("get_many", "tampered")
        for forgery in forgeries:
            admin.set(f"{SERVICE}:1:victim", forgery)
            assert cache.get("victim", "miss") == "miss"
            assert cache.get_many(["victim", "honest"]) == {"honest": {"is_staff": False}}
    assert counted("get", "tampered") - before[0] == len(forgeries)
    assert counted("get_many", "tampered") - before[1] == len(forgeries)
    assert not (tmp_path / "ran").exists()


def test_tooth_djangos_own_backend_runs_it(valkey: Valkey, tmp_path: Path) -> None:
    """Without typed JSON the same bytes run code."""
    with valkey.admin() as admin:
        admin.set(":1:victim", pickle.dumps(Bomb(tmp_path / "ran")))
    RedisCache(valkey.url("admin"), {}).get("victim")
    assert (tmp_path / "ran").exists()


def test_another_types_key_is_a_miss(cache: Any, valkey: Valkey) -> None:
    """A list under the key is no error."""
    with valkey.admin() as admin:
        admin.rpush(f"{SERVICE}:1:list", "x")
    assert cache.get("list", "miss") == "miss"
    with pytest.raises(ValueError):
        cache.incr("list")
    cache.set("text", "no number")
    with pytest.raises(ValueError):
        cache.incr("text")
    assert cache.is_available


OPERATIONS = {
    "get": lambda cache: cache.get("k", "default") == "default",
    "get_many": lambda cache: cache.get_many(["k", "j"]) == {},
    "set": lambda cache: cache.set("k", 1) is None,
    "set_many": lambda cache: cache.set_many({"k": 1, "j": 2}) == ["k", "j"],
    "add": lambda cache: cache.add("k", 1) is False,
    "touch": lambda cache: cache.touch("k") is False,
    "delete": lambda cache: cache.delete("k") is False,
    "delete_many": lambda cache: cache.delete_many(["k"]) is None,
    "has_key": lambda cache: cache.has_key("k") is False,
    "get_or_set": lambda cache: cache.get_or_set("k", lambda: 7) == 7,
    "clear": lambda cache: cache.clear() is False,
}


FAILURES = 5  # after so many in a row Redis is left alone
COMMANDS = {"get_or_set": 3}  # Django asks, adds and asks; every other operation is one


def without_redis(port: int) -> ResilientRedisCache:
    """Return a cache whose pauses never end."""
    clients._clients.clear()
    return ResilientRedisCache(f"redis://127.0.0.1:{port}/0", {"KEY_PREFIX": SERVICE, "OPTIONS": {"clock": Clock()}})


def commands(result: str) -> float:
    """Count the commands of all operations that ended so: ``failed`` and ``skipped`` are those that matter here."""
    metric = "bandstand_cache_operations_total"
    samples = (sample for family in REGISTRY.collect() for sample in family.samples if sample.name == metric)
    return sum(sample.value for sample in samples if sample.labels["result"] == result)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_redis_down_is_a_miss(name: str) -> None:
    """Where nobody listens no operation raises, and after five failures none asks any more."""
    cache = without_redis(1)
    failed, skipped = commands("failed"), commands("skipped")
    for _ in range(20):
        assert OPERATIONS[name](cache)
    assert commands("failed") - failed == FAILURES
    assert commands("skipped") - skipped == 20 * COMMANDS.get(name, 1) - FAILURES
    assert not cache.is_available


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_redis_that_hangs_is_waited_for_five_times(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where a server takes the connection and never answers, an operation ends, and after five none waits."""
    with black_hole() as port:
        cache = without_redis(port)
        failed, operations = commands("failed"), 0
        while cache.is_available:
            assert OPERATIONS[name](cache)
            operations += 1
        assert operations == -(-FAILURES // COMMANDS.get(name, 1))
        assert "left alone for now: Timeout" in caplog.text
        for _ in range(100):
            assert OPERATIONS[name](cache)
        assert commands("failed") - failed == FAILURES


CLOCK = Clock()


@pytest.mark.parametrize("options", [{"timeout": 1.0, "failures": 2, "pause": 2.0, "clock": CLOCK}], ids=["a clock"])
def test_redis_stopped_and_continued(cache: Any, valkey: Valkey, options: dict[str, Any]) -> None:
    """SIGSTOP: each operation ends, then Redis is cut out; SIGCONT: back at the first look after a pause."""
    cache.set("k", "before")
    failed, skipped = counted("get", "failed"), counted("get", "skipped")
    with valkey.stopped():
        assert [cache.get("k", "miss") for _ in range(30)] == ["miss"] * 30
        assert not cache.is_available
    assert (counted("get", "failed") - failed, counted("get", "skipped") - skipped) == (2, 28)
    assert cache.get("k", "miss") == "miss"
    CLOCK.now += options["pause"]
    assert cache.get("k", "miss") == "before"
    assert cache.is_available


def test_a_restart_costs_no_operation(cache: Any, valkey: Valkey) -> None:
    """Connections that died while idle are replaced without a miss or a write that is not done."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: cache.set(f"warm-{n}", n), range(64)))
    valkey.kill()
    valkey.start()
    cache.set("k", "after")
    assert cache.get("k") == "after"
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: cache.get("k"), range(64))) == ["after"] * 64


@pytest.mark.parametrize("options", [{"timeout": GUARD, "failures": 2, "pause": 2.0, "clock": CLOCK}], ids=["a clock"])
def test_what_was_overwritten_while_redis_was_away_does_not_come_back(
    settings: Settings, options: dict[str, Any]
) -> None:
    """A write or a deletion that could not be done is made up for before anything is read again."""
    server = Valkey(durable=True)
    try:
        server.start()
        settings.CACHES = {
            "default": {
                "BACKEND": "bandstand.cache.ResilientRedisCache",
                "LOCATION": server.url(),
                "KEY_PREFIX": SERVICE,
                "OPTIONS": options,
            }
        }
        clients._clients.clear()
        cache = caches["default"]
        cache.set_many({"deleted": "old", "overwritten": "old", "untouched": "old", "many": "old"}, None)
        server.kill()
        cache.delete("deleted")
        cache.set("overwritten", "new")
        cache.set_many({"many": "new"})
        server.start()
        CLOCK.now += options["pause"]
        found = cache.get_many(["deleted", "overwritten", "untouched", "many"])
        assert found == {"untouched": "old"}
    finally:
        server.close()


def test_what_could_not_be_overwritten_does_not_stay(cache: Any, valkey: Valkey) -> None:
    """A Redis without memory refuses writes; what they would have replaced is deleted, which it does not refuse."""
    cache.set_many({"one": "old", "other": "old", "untouched": "old"})
    with valkey.admin() as admin:
        admin.config_set("maxmemory", 1)
        try:
            cache.set("one", "new")
            assert cache.set_many({"other": "new"}) == ["other"]
            assert cache.get_many(["one", "other", "untouched"]) == {"untouched": "old"}
        finally:
            admin.config_set("maxmemory", 0)


def test_one_client_for_all_threads(cache: Any, valkey: Valkey) -> None:
    """As many connections as threads that ask at once, not as many as threads."""
    gate = threading.Barrier(20)
    with valkey.admin() as admin:
        earlier = {each["id"] for each in admin.client_list()}

    def work(number: int) -> None:
        gate.wait()
        for _ in range(20):
            caches["default"].set(f"k{number}", number)
            assert caches["default"].get(f"k{number}") == number

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(work, range(20)))
    with valkey.admin() as admin:
        ours = [each for each in admin.client_list() if each["user"] == SERVICE and each["id"] not in earlier]
    assert 1 <= len(ours) <= 20
    assert len(clients._clients) == 1


def test_a_fork_makes_connections_of_its_own(cache: Any) -> None:
    """Parent and child never read each other's answers."""
    cache.set("k", "parent")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answers = [cache.get("k") == "parent" for _ in range(200)]
        os.write(writing, b"1" if all(answers) else b"0")
        os._exit(0)
    answers = [cache.get("k") == "parent" for _ in range(200)]
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"1"
    assert all(answers)
    os.close(reading), os.close(writing)
