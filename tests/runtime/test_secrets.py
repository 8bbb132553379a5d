"""Passwords and keys for production: made once, never written over, and what servers need to know derived from them."""

import base64
import hashlib
import json
import stat
from pathlib import Path

import pytest

from bandstand.conf import ServiceEnvironment, wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.manifest import Workspace, parse
from bandstand.workspace.rotation import RotationStep
from bandstand.workspace.runtime import rotate_files, write_secrets
from bandstand.workspace.runtime.servers.scram import scram_verifier

MANIFEST = """\
[platform]
name = "shop"
[production]
broker = "{broker}"
[services.user-service]
issues_user_tokens = true
[services.order-service]
"""


@pytest.fixture
def shop() -> Workspace:
    return parse(MANIFEST.format(broker="rabbitmq"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}


def test_what_is_there_is_never_written_over(shop: Workspace, tmp_path: Path) -> None:
    """A second run changes nothing: a database would not know the new password."""
    assert write_secrets(shop, tmp_path / "secrets")
    before = contents(tmp_path / "secrets")
    made = [tmp_path / "secrets" / name for name in ("postgres/administrator", "order-service/DATABASE_URL")]
    inodes = [path.stat().st_ino for path in made]
    assert write_secrets(shop, tmp_path / "secrets") == []
    assert contents(tmp_path / "secrets") == before
    assert [path.stat().st_ino for path in made] == inodes, "a container has the file itself mounted"


def test_a_new_service_gets_its_own(shop: Workspace, tmp_path: Path) -> None:
    """The others keep theirs, and learn the new one's public key."""
    write_secrets(shop, tmp_path)
    before = contents(tmp_path)
    grown = parse(MANIFEST.format(broker="rabbitmq") + "[services.mail-service]\n")
    changed = {str(path.relative_to(tmp_path)) for path in write_secrets(grown, tmp_path)}
    assert "mail-service/DATABASE_URL" in changed
    assert {name for name in changed if name in before} == {
        "order-service/TRUSTED_KEYS",
        "user-service/TRUSTED_KEYS",
        "valkey/users.acl",
        "rabbitmq/definitions.json",
    }


def test_only_the_owner_gets_in_and_containers_can_read(shop: Workspace, tmp_path: Path) -> None:
    """The folder is closed to others; inside of it a file can be read by the user of a container. Git ignores all."""
    write_secrets(shop, tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").glob("*/*")}
    assert modes == {0o444}
    assert (tmp_path / "secrets" / ".gitignore").read_text() == "*\n"


def test_a_service_starts_on_them(shop: Workspace, tmp_path: Path) -> None:
    """Nothing of it is what production refuses: no development mark, nothing that can be guessed."""
    write_secrets(shop, tmp_path)
    files = {f"{name}_FILE": str(tmp_path / "user-service" / name) for name in wire.SECRETS[:5]}
    environment = ServiceEnvironment.read("user-service", {"ALLOWED_HOSTS": "shop.example", **files})
    assert environment.database["NAME"] == "user_service"
    assert not any(wire.DEVELOPMENT_MARK.encode() in content for content in contents(tmp_path).values())


def test_each_service_trusts_all_and_knows_one_private_key(shop: Workspace, tmp_path: Path) -> None:
    """The sets are the same and public; only the issuer has a key for user tokens."""
    write_secrets(shop, tmp_path)
    sets = {(tmp_path / name / "TRUSTED_KEYS").read_text() for name in shop.service_names}
    assert len(sets) == 1
    keys = json.loads(sets.pop())["keys"]
    assert [key["service"] for key in keys] == list(shop.service_names)
    assert not any("d" in key for key in keys)
    assert [name for name in shop.service_names if (tmp_path / name / "USER_KEY").exists()] == ["user-service"]


def test_postgres_is_given_no_password(shop: Workspace, tmp_path: Path) -> None:
    """Its script sends a verifier of the password in the URL, and the same one each time."""
    write_secrets(shop, tmp_path)
    password = (tmp_path / "order-service" / "DATABASE_URL").read_text().split(":")[2].split("@")[0]
    verifier = (tmp_path / "postgres" / "order-service").read_text()
    salt = base64.b64decode(verifier.split("$")[1].split(":")[1])
    assert verifier == scram_verifier(password, salt)
    assert password not in verifier
    write_secrets(shop, tmp_path)
    assert (tmp_path / "postgres" / "order-service").read_text() == verifier


def test_rabbitmq_knows_each_service_and_its_rights(shop: Workspace, tmp_path: Path) -> None:
    """The hash is that of the password in the URL; a service may neither delete the archive nor use another's name."""
    write_secrets(shop, tmp_path)
    definitions = json.loads((tmp_path / "rabbitmq" / "definitions.json").read_text())
    [user] = [user for user in definitions["users"] if user["name"] == "order-service"]
    password = (tmp_path / "order-service" / "BROKER_URL").read_text().split(":")[2].split("@")[0]
    raw = base64.b64decode(user["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + password.encode()).digest()
    [rights] = [rights for rights in definitions["permissions"] if rights["user"] == "order-service"]
    assert rights["configure"] == r"^shop\.order-service(\..*)?$"
    assert "administrator" not in user["tags"]


def test_nats_waits_for_the_disk(tmp_path: Path) -> None:
    """In production an event counts as taken when it is on the disk, and each service publishes in its own name."""
    shop = parse(MANIFEST.format(broker="nats"))
    write_secrets(shop, tmp_path)
    configuration = json.loads((tmp_path / "nats" / "nats.conf").read_text())
    assert configuration["jetstream"]["sync_interval"] == "always"
    assert [user["user"] for user in configuration["authorization"]["users"]] == ["bandstand", *shop.service_names]
    assert (tmp_path / "order-service" / "BROKER_URL").read_text().startswith("nats://order-service:")


def test_a_file_that_is_no_url_is_named(shop: Workspace, tmp_path: Path) -> None:
    """Whoever edited it learns which, and it is left alone."""
    write_secrets(shop, tmp_path)
    path = tmp_path / "order-service" / "DATABASE_URL"
    path.chmod(0o600)
    path.write_text("postgresql://[broken")
    with pytest.raises(WorkspaceError, match="order-service/DATABASE_URL is no URL"):
        write_secrets(shop, tmp_path)
    assert path.read_text() == "postgresql://[broken"


def urls(folder: Path) -> dict[str, str]:
    return {name: (folder / "order-service" / name).read_text() for name in ("DATABASE_URL", "CACHE_URL", "BROKER_URL")}


def users(folder: Path) -> dict[str, list[str]]:
    """The users of the order service that each server accepts."""
    roles = [path.name for path in (folder / "postgres").glob("order-service*") if path.read_text()]
    definitions = json.loads((folder / "rabbitmq" / "definitions.json").read_text())["users"]
    acl = (folder / "valkey" / "users.acl").read_text().splitlines()
    return {
        "postgres": sorted(roles),
        "rabbitmq": sorted(
            user["name"] for user in definitions if user["name"].startswith("order") and user["password_hash"]
        ),
        "valkey": sorted(line.split()[1] for line in acl if line.startswith("user order")),
    }


def test_secrets_are_replaced_in_three_steps(shop: Workspace, tmp_path: Path) -> None:
    """Servers and services accept both, then all use the new ones, then the old ones are closed; the second time it is
    the first user who comes back. Each step may be done again, and `bandstand secrets` changes nothing in between.
    """
    both = ["order-service", "order-service.b"]
    write_secrets(shop, tmp_path)
    old, first_key = urls(tmp_path), (tmp_path / "order-service" / "SECRET_KEY").read_text()
    assert users(tmp_path) == dict.fromkeys(("postgres", "rabbitmq", "valkey"), both[:1])
    for _ in range(2):
        rotate_files(shop, tmp_path, RotationStep.ACCEPT)
        assert urls(tmp_path) == old
        assert users(tmp_path) == dict.fromkeys(("postgres", "rabbitmq", "valkey"), both)
        keys = (tmp_path / "order-service" / "SECRET_KEY").read_text().split()
        assert keys[0] == first_key
    assert len(json.loads((tmp_path / "user-service" / "TRUSTED_KEYS").read_text())["keys"]) == 4
    assert write_secrets(shop, tmp_path) == []
    for _ in range(2):
        rotate_files(shop, tmp_path, RotationStep.USE)
        new = urls(tmp_path)
        assert "://order_service.b:" in new["DATABASE_URL"]
        assert new["DATABASE_URL"].endswith("@postgres:5432/order_service")
        assert "://order-service.b:" in new["BROKER_URL"]
        assert users(tmp_path) == dict.fromkeys(("postgres", "rabbitmq", "valkey"), both)
        assert (tmp_path / "order-service" / "SECRET_KEY").read_text().split() == keys[::-1]
    rotate_files(shop, tmp_path, RotationStep.RETIRE)
    assert urls(tmp_path) == new
    assert users(tmp_path) == dict.fromkeys(("postgres", "rabbitmq", "valkey"), both[1:])
    assert (tmp_path / "order-service" / "SECRET_KEY").read_text() == keys[1]
    assert len(json.loads((tmp_path / "user-service" / "TRUSTED_KEYS").read_text())["keys"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("rotation")) == []
    assert write_secrets(shop, tmp_path) == []
    for step in RotationStep:
        rotate_files(shop, tmp_path, step)
    assert "://order_service:" in urls(tmp_path)["DATABASE_URL"]
    assert users(tmp_path) == dict.fromkeys(("postgres", "rabbitmq", "valkey"), both[:1])


def test_a_service_starts_on_each_step(shop: Workspace, tmp_path: Path) -> None:
    """The files of a step in between are without fault too."""
    write_secrets(shop, tmp_path)
    files = {f"{name}_FILE": str(tmp_path / "user-service" / name) for name in wire.SECRETS[:5]}
    for step in RotationStep:
        rotate_files(shop, tmp_path, step)
        environment = ServiceEnvironment.read("user-service", {"ALLOWED_HOSTS": "shop.example", **files})
        assert len(environment.secret_key_fallbacks) == (step is not RotationStep.RETIRE)


def test_steps_come_in_their_order(shop: Workspace, tmp_path: Path) -> None:
    """One that does not come next changes nothing, and the message names the one that does."""
    with pytest.raises(WorkspaceError, match="There are no secrets"):
        rotate_files(shop, tmp_path / "none", RotationStep.ACCEPT)
    write_secrets(shop, tmp_path)
    before = contents(tmp_path)
    for step in (RotationStep.USE, RotationStep.RETIRE):
        with pytest.raises(WorkspaceError, match="has not begun") as raised:
            rotate_files(shop, tmp_path, step)
        assert raised.value.hint.endswith("--step accept")
    assert contents(tmp_path) == before
    rotate_files(shop, tmp_path, RotationStep.ACCEPT)
    with pytest.raises(WorkspaceError, match="is at the step accept since") as raised:
        rotate_files(shop, tmp_path, RotationStep.RETIRE)
    assert raised.value.hint.endswith("--step use")
    rotate_files(shop, tmp_path, RotationStep.USE)
    with pytest.raises(WorkspaceError, match="is at the step use"):
        rotate_files(shop, tmp_path, RotationStep.ACCEPT)


def test_a_url_without_a_password_stays(shop: Workspace, tmp_path: Path) -> None:
    """Nothing is made up for a server that asks for none."""
    write_secrets(shop, tmp_path)
    path = tmp_path / "order-service" / "CACHE_URL"
    path.chmod(0o600)
    path.write_text("redis://cache.example:6379/0")
    for step in RotationStep:
        rotate_files(shop, tmp_path, step)
        assert path.read_text() == "redis://cache.example:6379/0"


def test_the_administrator_of_postgres_is_known_by_both_passwords(shop: Workspace, tmp_path: Path) -> None:
    """Only a job uses it: it has the new one from the first step on, and the one before while that may still hold."""
    write_secrets(shop, tmp_path)
    folder = tmp_path / "postgres"
    old = (folder / "administrator").read_text()
    found = []
    for step in RotationStep:
        rotate_files(shop, tmp_path, step)
        found.append(((folder / "administrator").read_text(), (folder / "administrator.before").read_text()))
    new = found[0][0]
    assert new != old
    assert found == [(new, old), (new, old), (new, "")]
    verifier = (folder / "administrator.verifier").read_text()
    assert verifier == scram_verifier(new, base64.b64decode(verifier.split("$")[1].split(":")[1]))


def test_consul_knows_both_tokens_meanwhile(shop: Workspace, tmp_path: Path) -> None:
    """The job creates what the file names, and revokes all others of the service."""
    consul = parse(MANIFEST.format(broker="rabbitmq").replace("[services.u", 'discovery = "consul"\n[services.u', 1))
    write_secrets(consul, tmp_path)
    lines = [(tmp_path / "consul" / "order-service").read_text().splitlines()]
    for step in RotationStep:
        rotate_files(consul, tmp_path, step)
        lines.append((tmp_path / "consul" / "order-service").read_text().splitlines())
        current = (tmp_path / "order-service" / wire.DISCOVERY_TOKEN).read_text()
        assert lines[-1][0].endswith(current)
    before, accept, use, retire = lines
    assert accept[:1] == before
    assert use == accept[::-1]
    assert retire == use[:1]
