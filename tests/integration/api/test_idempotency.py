"""Idempotency keys on PostgreSQL, and on one whose sessions belong to a client for a transaction only."""

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from tests.integration.optional.pgbouncer import PgBouncer
from tests.integration.servers import Postgres
from tests.waiting import until

from .web import Answer, Web, running

pytestmark = pytest.mark.integration

PARALLEL = 50
SESSIONS = 3  # fewer than the service has threads
ROUNDS = 3 if "BANDSTAND_FAULT_SECONDS" in os.environ else 1


@pytest.fixture(scope="module", params=["direct", "pooled"])
def database_url(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    """Where the service finds its database: at PostgreSQL itself, and behind PgBouncer."""
    if request.param == "direct":
        yield postgres.url()
        return
    with closing(PgBouncer(postgres, sessions=SESSIONS)) as pooler:
        pooler.start()
        yield pooler.url("postgres")


@pytest.fixture(scope="module")
def web(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running(tmp_path_factory.mktemp("web") / "log", DATABASE_URL=database_url) as web:
        yield web


def at_once(count: int, ask: Callable[[int], Any]) -> list[Any]:
    """Call ``ask`` in that many threads that begin together."""
    gate = threading.Barrier(count)

    def work(number: int) -> Any:
        gate.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def order(web: Web, key: str, *, user: int | None = None, **body: Any) -> Answer:
    headers = {"Idempotency-Key": key, **({"X-Test-User": str(user)} if user else {})}
    return web.ask("POST", "/api/v1/orders/", body, headers)


def effects(postgres: Postgres, key: str) -> int:
    [[count]] = postgres.execute("SELECT count(*) FROM placed WHERE key = %s", parameters=[key])
    return int(count)


def test_fifty_at_once_have_one_effect(web: Web, postgres: Postgres) -> None:
    """Each of the others is told to wait or gets the first one's answer; so five times over."""
    for _ in range(5):
        key = str(uuid4())
        answers = at_once(PARALLEL, lambda _, key=key: order(web, key, total="19.90"))
        assert effects(postgres, key) == 1
        assert {answer.status for answer in answers} <= {201, 409}
        done = [answer for answer in answers if answer.status == 201]
        assert len({answer.body for answer in done}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
        assert all(answer.json()["code"] == "idempotency_key_in_flight" for answer in answers if answer.status == 409)
        again = order(web, key, total="19.90")
        assert (again.status, again.body) == (201, done[0].body)


def test_tooth_without_protection_there_are_more(database_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """The same requests on the same service with the protection off."""
    with running(tmp_path / "log", DATABASE_URL=database_url, PROTECTION="off") as web:
        key = str(uuid4())
        at_once(10, lambda _: order(web, key))
        assert effects(postgres, key) == 10


def test_a_request_in_flight_holds_up_nobody(web: Web, postgres: Postgres, tmp_path: Path) -> None:
    """Those who come with its key are answered before it is, and so are others: none waits for it in the database."""
    key, gate = str(uuid4()), tmp_path / "gate"
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(order, web, key, gate=str(gate))
        try:
            until(lambda: placing(postgres), "the request holds its key")
            answers = at_once(7, lambda _: order(web, key, gate=str(gate)))
            assert [answer.status for answer in answers] == [409] * 7
            assert order(web, str(uuid4())).status == 201
            assert not first.done()
        finally:
            gate.touch()
        assert first.result().status == 201


def test_another_content_at_the_same_time(web: Web, postgres: Postgres) -> None:
    """One of them wins; the others are refused."""
    key = str(uuid4())
    answers = at_once(20, lambda number: order(web, key, total=str(number % 2)))
    assert effects(postgres, key) == 1
    assert {answer.status for answer in answers} <= {201, 409, 422}
    totals = {answer.json()["total"] for answer in answers if answer.status == 201}
    assert len(totals) == 1
    other = "1" if totals == {"0"} else "0"
    assert order(web, key, total=other).json()["code"] == "idempotency_key_reused"


def test_each_user_has_keys_of_their_own(web: Web, postgres: Postgres) -> None:
    """Ten users with one key at once: ten effects, ten different answers."""
    key = str(uuid4())
    answers = at_once(10, lambda number: order(web, key, user=number + 1))
    assert Counter(answer.status for answer in answers) == {201: 10}
    assert effects(postgres, key) == 10
    assert len({answer.json()["id"] for answer in answers}) == 10


@pytest.mark.parametrize(("moment", "committed"), [("before the commit", False), ("after the commit", True)])
def test_a_process_that_dies(web: Web, postgres: Postgres, moment: str, committed: bool) -> None:
    """The key is committed with the effect or not at all: the repetition does the work, or gets the answer to it."""
    for _ in range(ROUNDS):
        key = str(uuid4())
        with pytest.raises((OSError, HTTPException)):
            order(web, key, die=moment)
        assert effects(postgres, key) == int(committed)
        web.revive()
        again = order(web, key, die=moment) if committed else order(web, key)
        assert again.status == 201
        assert ("idempotency-replayed" in again.headers) is committed
        assert effects(postgres, key) == 1


def test_a_killed_process_frees_its_key(web: Web, database_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """While it lives another process is told to wait; once it is killed the other does the work, the first time."""
    key = str(uuid4())
    with running(tmp_path / "log", DATABASE_URL=database_url) as doomed, ThreadPoolExecutor(1) as threads:
        lost = threads.submit(order, doomed, key, gate=str(tmp_path / "never"))
        until(lambda: placing(postgres), "the request holds its key")
        assert [answer.status for answer in at_once(PARALLEL, lambda _: order(web, key))] == [409] * PARALLEL
        kill_family(doomed)
        assert isinstance(lost.exception(), OSError | HTTPException)
        answer = until(lambda: (found := order(web, key)).status == 201 and found, "the key is free")
    assert "idempotency-replayed" not in answer.headers
    assert effects(postgres, key) == 1


def test_a_pooler_that_is_killed(postgres: Postgres, tmp_path: Path) -> None:
    """Twice while requests are under way: clients are told to try again, and each key has had one effect in the end."""
    keys, refusals = [str(uuid4()) for _ in range(24)], Counter[int]()
    with closing(PgBouncer(postgres, sessions=SESSIONS)) as pooler, ExitStack() as stack:
        pooler.start()
        web = stack.enter_context(running(tmp_path / "log", DATABASE_URL=pooler.url("postgres")))

        def insist(key: str) -> bool:
            answer = order(web, key, seconds=0.2)
            refusals.update([answer.status])
            return answer.status == 201

        threads = stack.enter_context(ThreadPoolExecutor(len(keys)))
        orders = [threads.submit(until, functools.partial(insist, key), "the order is placed") for key in keys]
        for done in (1, 8):
            until(lambda done=done: sum(effects(postgres, key) for key in keys) >= done, "some are placed")
            pooler.kill()
            pooler.start()
        assert all(each.result() for each in orders)
    assert [effects(postgres, key) for key in keys] == [1] * len(keys)
    assert refusals[503], "the tooth: somebody was in the middle"
    assert set(refusals) <= {201, 409, 503}


def placing(postgres: Postgres) -> bool:
    """Whether a transaction that has placed an order waits for what its client does next."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'INSERT INTO placed%%'"
    return bool(postgres.execute(sql))


def kill_family(web: Web) -> None:
    """SIGKILL to granian and to the worker that it has."""
    assert web.process is not None
    main = psutil.Process(web.process.pid)
    for process in [*main.children(recursive=True), main]:
        process.kill()


def test_what_expired_is_purged_without_waiting_for_rows_in_use(web: Web, postgres: Postgres) -> None:
    """A new request under an expired key is a new request."""
    key = str(uuid4())
    assert order(web, key).status == 201
    postgres.execute("UPDATE bandstand_api_idempotencyrecord SET expires_at = now() - interval '1 s'")
    answers = at_once(20, lambda _: order(web, key))
    assert {answer.status for answer in answers} <= {201, 409}
    assert effects(postgres, key) == 2
