"""Servers that are installed on the machine itself, as its packages put them there: PostgreSQL and RabbitMQ."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import ServerMissing

__all__ = [
    "PostgresPrograms",
    "RabbitMqPrograms",
    "find_rabbitmq",
    "find_system_postgres",
    "rabbitmq_version",
]

# The first whose initdb knows --no-instructions; older ones get no repairs any more.
_OLDEST_POSTGRES: Final = 14
_DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")
# Debian's own; the one of that name on the PATH there is a wrapper that would change the user and the environment.
_DEBIAN_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_ASKING_SECONDS: Final = 30.0
_VERSION: Final = re.compile(r"\(.*?\) (\d+)")
_INSTALL: Final = "On Debian or Ubuntu: apt-get install postgresql postgresql-contrib."


class PostgresPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """The folder that holds ``postgres`` and ``initdb``, and their major version."""

    folder: Path
    version: int


class RabbitMqPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """RabbitMQ itself, and Erlang's port mapper (epmd)."""

    server: Path
    port_mapper: Path


def find_system_postgres(programs: Path | None = None, *, wanted: int | None = None) -> PostgresPrograms:
    """Return the PostgreSQL in the folder ``programs``, or else the one that the machine has.

    Of several that the machine has, the one of the major version ``wanted`` is taken if there is one, else the one that
    ``pg_config`` names, the one on the ``PATH``, or the newest of Debian's.

    Raises:
        ServerMissing: there is none, it is too old, or the folder does not hold what it should.
    """
    if programs is not None:
        return _recent_enough([_read(programs)])[0]
    found = [_read(folder) for folder in _folders() if not _lacking(folder)]
    if not found:
        raise ServerMissing(
            'bandstand.toml says postgres = "system", but PostgreSQL is not installed on this machine '
            f"(neither pg_config nor the PATH nor {_DEBIAN_POSTGRES} leads to postgres and initdb).",
            hint=f'{_INSTALL} Or name the folder of its programs: postgres = "/opt/postgresql/bin".',
        )
    usable = _recent_enough(found)
    return next((each for each in usable if each.version == wanted), usable[0])


def find_rabbitmq() -> RabbitMqPrograms:
    """Return the programs of the RabbitMQ that is installed on this machine: it comes in no wheel.

    Raises:
        ServerMissing: there is none, or the Python client of the services is not installed.
    """
    server = _DEBIAN_RABBITMQ if os.access(_DEBIAN_RABBITMQ, os.X_OK) else shutil.which("rabbitmq-server")
    port_mapper = shutil.which("epmd")
    if server is None or port_mapper is None:
        raise ServerMissing(
            "RabbitMQ (rabbitmq-server and epmd) is not installed on this machine, and it comes in no wheel.",
            hint=(
                "On Debian or Ubuntu: apt-get install rabbitmq-server. Or name a server that exists in bandstand.toml: "
                'servers.rabbitmq = "amqp://user:password@host". Or use NATS, which needs nothing: remove that line.'
            ),
        )
    if find_spec("pika") is None:
        raise ServerMissing(
            "pika, by which the services talk to RabbitMQ, is not installed in this environment.",
            hint="Install it with: pip install 'bandstand[rabbitmq]'.",
        )
    return RabbitMqPrograms(server=Path(server), port_mapper=Path(port_mapper))


def rabbitmq_version(programs: RabbitMqPrograms) -> str:
    """Return the version of RabbitMQ, such as ``3.10.8``, or nothing where it does not say."""
    return _output(programs.server.with_name("rabbitmqctl"), "version").strip()


def _folders() -> Iterator[Path]:
    """Yield where PostgreSQL's programs may be."""
    pg_config = shutil.which("pg_config")
    if pg_config is not None and (folder := _output(Path(pg_config), "--bindir").strip()):
        yield Path(folder)
    postgres = shutil.which("postgres")
    if postgres is not None:
        yield Path(postgres).parent
    debian = [folder for folder in _DEBIAN_POSTGRES.glob("*/bin") if folder.parent.name.isdecimal()]
    yield from sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True)


def _lacking(folder: Path) -> list[str]:
    return [name for name in ("postgres", "initdb") if not os.access(folder / name, os.X_OK)]


def _read(folder: Path) -> PostgresPrograms:
    if lacking := _lacking(folder):
        raise ServerMissing(
            f"{folder} holds no {' and no '.join(lacking)} that can be run.",
            hint=(
                "Name the folder that holds both under [servers] in bandstand.toml, such as "
                f'postgres = "/usr/lib/postgresql/16/bin", or write "system". {_INSTALL}'
            ),
        )
    version = _VERSION.search(_output(folder / "postgres", "--version"))
    if version is None:
        raise ServerMissing(
            f"{folder / 'postgres'} --version names no version of PostgreSQL.",
            hint=f"Run it to see why, or name another folder under [servers] in bandstand.toml. {_INSTALL}",
        )
    return PostgresPrograms(folder=folder, version=int(version[1]))


def _recent_enough(found: list[PostgresPrograms]) -> list[PostgresPrograms]:
    usable = [each for each in found if each.version >= _OLDEST_POSTGRES]
    if not usable:
        old = found[0]
        raise ServerMissing(
            f"The PostgreSQL in {old.folder} is {old.version}, and {_OLDEST_POSTGRES} is the oldest that works.",
            hint=f'Install a newer one, or write postgres = "embedded" under [servers] in bandstand.toml. {_INSTALL}',
        )
    return usable


def _output(program: Path, *arguments: str) -> str:
    """Return what a program writes, or nothing where it fails."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=_ASKING_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
