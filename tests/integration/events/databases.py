"""The ledger service's databases: what a URL becomes in Django's settings, and SQLite as a server of files."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bandstand.conf import ServiceEnvironment

MARIADB_TABLES = (
    "CREATE TABLE written (number int PRIMARY KEY)",
    """CREATE TABLE effect (
        id bigint AUTO_INCREMENT PRIMARY KEY, subscription varchar(80), message_id varchar(200), number int,
        `key` varchar(200), correlation_id varchar(64), causation_id varchar(200)
    )""",
)
SQLITE_TABLES = (
    "CREATE TABLE written (number int PRIMARY KEY)",
    """CREATE TABLE effect (
        id integer PRIMARY KEY AUTOINCREMENT, subscription text, message_id text, number int, key text,
        correlation_id text, causation_id text
    )""",
)


def database_settings(url: str) -> dict[str, Any]:
    """What a service has in DATABASES for its ``DATABASE_URL``."""
    variables = {"DATABASE_URL": url, "SECRET_KEY": "tests-only", "DEBUG": "1"}
    return ServiceEnvironment.read("ledger-service", variables).database


class Sqlite:
    """A folder of databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, database: str) -> Path:
        return self.folder / f"{database}.sqlite3"

    def url(self, database: str) -> str:
        return f"sqlite:///{self._file(database)}"

    def execute(self, statement: str, database: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with closing(sqlite3.connect(self._file(database), timeout=20, isolation_level=None)) as connection:
            return connection.execute(statement.replace("%s", "?"), list(parameters)).fetchall()

    def copy(self, template: str, name: str) -> None:
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)", template)
        shutil.copy(self._file(template), self._file(name))

    def drop(self, name: str) -> None:
        self._file(name).unlink()
