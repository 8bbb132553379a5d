"""MariaDB from the system's packages, as a private child that a test can kill and start again."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql

from tests.integration.optional.servers import wait_for
from tests.integration.servers import tied
from tests.ports import held_port
from tests.programs import require_program


class MariaDb:
    """A MariaDB with its data in ``folder``; what is committed survives ``kill``."""

    def __init__(self, folder: Path) -> None:
        self.program = require_program("mariadb", "mariadbd")
        self.folder = folder
        self.port = held_port()
        self.process: subprocess.Popen[bytes] | None = None
        # It refuses to be root unless told to be.
        self.account = ["--user=root"] if os.geteuid() == 0 else []
        install = require_program("mariadb", "mariadb-install-db")
        command = [install, "--no-defaults", *self.account, f"--datadir={folder / 'data'}", "--skip-test-db"]
        subprocess.run([*command, "--auth-root-authentication-method=normal"], check=True, capture_output=True)

    def url(self, database: str) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        log = self.folder / "output"
        options = [
            "--no-defaults",
            *self.account,
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=32M",
            "--innodb-flush-method=nosync",  # only the end of the machine could lose what was committed
            # A service must not rely on the server's own time zone, isolation or collation.
            "--default-time-zone=+05:00",
            "--character-set-server=latin1",
        ]
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                tied([self.program, *options]), stdout=sink, stderr=sink, start_new_session=True
            )
        wait_for(self._answers, self.process, log=log)

    def _answers(self) -> bool:
        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=2).close()
        except pymysql.OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str | None = None, parameters: Sequence[Any] = ()) -> list[Any]:
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, charset="utf8mb4"
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def copy(self, template: str, name: str) -> None:
        self.execute(f"CREATE DATABASE {name}")
        for (table,) in self.execute(f"SHOW TABLES FROM {template}"):
            self.execute(f"CREATE TABLE {name}.{table} LIKE {template}.{table}")

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
