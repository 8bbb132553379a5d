from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS
from django.db.utils import ConnectionHandler

from tests.waiting import GUARD, until

from .server import RestartablePostgres

Connect = Callable[..., Any]


@pytest.fixture(scope="package")
def postgres() -> Iterator[RestartablePostgres]:
    with RestartablePostgres() as server:
        yield server


@pytest.fixture
def connect(postgres: RestartablePostgres, django_db_blocker: Any) -> Iterator[Connect]:
    """Return a handler of connections that all share one pool, as the threads of a web process do."""
    handlers: list[ConnectionHandler] = []

    def connect(engine: str = "bandstand.postgresql", *, port: int | None = None, **options: Any) -> ConnectionHandler:
        pool = {"min_size": 4, "max_size": 4, "timeout": GUARD, **options.pop("pool", {})}
        handler = ConnectionHandler(
            {
                DEFAULT_DB_ALIAS: {
                    "ENGINE": engine,
                    "NAME": "postgres",
                    "USER": "postgres",
                    "PASSWORD": postgres.password,
                    "HOST": "127.0.0.1",
                    "PORT": port or postgres.port,
                    "OPTIONS": {"pool": pool, "connect_timeout": 30, **options},
                    "CONN_HEALTH_CHECKS": engine != "bandstand.postgresql",
                }
            }
        )
        handlers.append(handler)
        return handler

    with django_db_blocker.unblock():
        yield connect
        for handler in handlers:
            handler[DEFAULT_DB_ALIAS].close()
            handler[DEFAULT_DB_ALIAS].close_pool()


@pytest.fixture
def connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a connection that ``transaction.atomic`` finds."""
    handler = connect()
    monkeypatch.setattr("django.db.transaction.connections", handler)
    monkeypatch.setattr("django.db.connections", handler)
    return handler[DEFAULT_DB_ALIAS]


def begin(connection: Any) -> None:
    """Do what the application does before it publishes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def ask(handler: ConnectionHandler) -> Any:
    """One request's use of the database: take a connection, ask, give it back."""
    connection = handler[DEFAULT_DB_ALIAS]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()
    finally:
        connection.close()


def fill(handler: ConnectionHandler, size: int) -> None:
    """Let the pool have ``size`` idle connections."""
    pool = handler[DEFAULT_DB_ALIAS].pool
    pool.open()
    pool.wait()
    until(lambda: pool.get_stats()["pool_available"] >= size, "idle connections")


@contextmanager
def holding(url: str, sql: str) -> "Iterator[psycopg.Connection[Any]]":
    """Keep what ``sql`` takes in a transaction, up to the guard: whoever waits for it then gets it, too late."""
    with psycopg.connect(url) as holder:
        holder.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{GUARD:g}s'")  # type: ignore[arg-type]
        holder.execute(sql)  # type: ignore[arg-type]
        yield holder
