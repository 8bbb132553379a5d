"""What the database of the events must have, and what the worker does without where it is not PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning
from django.db.backends.base.base import BaseDatabaseWrapper

from bandstand.events import tables

__all__ = ["faults", "shortcomings"]

_TABLES: Final = (tables.OUTBOX, tables.INBOX, tables.DELIVERIES, tables.DEAD_LETTERS, tables.HISTORY)
_ENGINES: Final = (
    "SELECT table_name, engine FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name IN (%s, %s, %s, %s, %s)"
)


def faults(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """Return what breaks the promises of the room (errors), or slows it down (warnings); asks the database.

    Raises:
        django.db.Error: it does not answer.
    """
    look: dict[str, Callable[[BaseDatabaseWrapper], Iterator[CheckMessage]]] = {"mysql": _mysql, "sqlite": _sqlite}
    return list(look[connection.vendor](connection)) if connection.vendor in look else []


def shortcomings(connection: Any) -> Iterator[CheckMessage]:
    """Yield what this database lacks; it works without, and this says how."""
    if connection.vendor == "postgresql":
        return
    yield Info(
        f"{connection.display_name} does not wake the relay when a transaction commits, so it looks every "
        f"POLL_INTERVAL seconds.",
        hint='Set BANDSTAND["EVENTS"]["POLL_INTERVAL"] as low as the delay must be; PostgreSQL has NOTIFY.',
        id="bandstand.events.I001",
    )
    if connection.vendor == "sqlite":
        yield CheckWarning(
            "SQLite has one writer at a time, so handlers and requests wait for each other.",
            hint="It is for development and for small services on one machine; use PostgreSQL or MariaDB otherwise.",
            id="bandstand.events.W002",
        )
    elif not connection.features.has_select_for_update_skip_locked:
        yield Info(
            f"This release of {connection.display_name} has no SKIP LOCKED, so workers wait for each other's claims.",
            hint="MariaDB has it since 10.6, MySQL since 8.0.1.",
            id="bandstand.events.I002",
        )


def _mysql(connection: Any) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute(_ENGINES, _TABLES)
        bare = sorted(name for name, engine in cursor.fetchall() if engine != "InnoDB")
        cursor.execute(f"SELECT @@{'tx_isolation' if connection.mysql_is_mariadb else 'transaction_isolation'}")
        (level,) = cursor.fetchone()
    if bare or not connection.features.supports_transactions:
        what = ", ".join(bare) or "new tables"
        yield Error(
            f"Not InnoDB: {what}. Without transactions an event is kept although its change was undone, and a handler "
            f"runs twice.",
            hint="ALTER TABLE … ENGINE = InnoDB, for these and for the tables of your own; set default_storage_engine.",
            id="bandstand.events.E002",
        )
    if level == "READ-UNCOMMITTED":
        yield Error(
            "The isolation level is READ UNCOMMITTED, so relay and handlers would act on what is never committed.",
            hint="Leave OPTIONS['isolation_level'] out; Django's own is 'read committed'.",
            id="bandstand.events.E003",
        )
    elif level != "READ-COMMITTED":
        yield CheckWarning(
            f"The isolation level is {level.replace('-', ' ')}, which locks gaps between rows: workers wait for each "
            f"other and run into deadlocks.",
            hint="Leave OPTIONS['isolation_level'] out; Django's own is 'read committed'.",
            id="bandstand.events.W003",
        )


def _sqlite(connection: Any) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
    begins = str(connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED").upper()
    if mode not in {"wal", "memory"} or (mode == "wal" and begins == "DEFERRED"):
        yield CheckWarning(
            f"SQLite has the journal mode {mode} and transactions that begin {begins}, so that relay, handlers and "
            f"requests fail at each other with 'database is locked'.",
            hint="OPTIONS = {'transaction_mode': 'IMMEDIATE', 'timeout': 20, "
            "'init_command': 'PRAGMA journal_mode=WAL'}, as ServiceEnvironment has it.",
            id="bandstand.events.W004",
        )
