"""Idempotency keys on MariaDB, where two inserts of one key wait for each other."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.optional.mariadb import MariaDb

from .test_idempotency import at_once, order
from .web import Web, running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    with closing(server):
        server.start()
        server.execute("CREATE DATABASE orders")
        Web(tmp_path_factory.mktemp("web") / "log", DATABASE_URL=server.url("orders")).migrate()
        yield server


@pytest.fixture(scope="module")
def web(mariadb: MariaDb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running(tmp_path_factory.mktemp("web") / "log", DATABASE_URL=mariadb.url("orders")) as web:
        yield web


def effects(mariadb: MariaDb, key: str) -> int:
    [[count]] = mariadb.execute("SELECT count(*) FROM placed WHERE `key` = %s", "orders", [key])
    return int(count)


def test_many_at_once_have_one_effect(web: Web, mariadb: MariaDb) -> None:
    """Each of the others is told to wait or gets the first one's answer."""
    key = str(uuid4())
    answers = at_once(20, lambda _: order(web, key, total="19.90"))
    assert {answer.status for answer in answers} <= {201, 409}
    done = [answer for answer in answers if answer.status == 201]
    assert len({answer.body for answer in done}) == 1
    again = order(web, key, total="19.90")
    assert (again.status, again.body) == (201, done[0].body)
    assert effects(mariadb, key) == 1


def test_tooth_without_protection_there_are_more(mariadb: MariaDb, tmp_path: Path) -> None:
    """The same requests on the same service with the protection off."""
    with running(tmp_path / "log", DATABASE_URL=mariadb.url("orders"), PROTECTION="off") as web:
        key = str(uuid4())
        at_once(5, lambda _: order(web, key))
        assert effects(mariadb, key) == 5


def test_another_content_under_a_used_key_is_refused(web: Web) -> None:
    """A key that differs in case alone is another key, and one that was used is kept for its content."""
    key = f"key-{uuid4()}"
    first = order(web, key, total="1")
    assert order(web, key, total="2").status == 422
    other = order(web, key.upper(), total="3")
    assert (first.status, other.status) == (201, 201)
    assert first.json()["id"] != other.json()["id"]
