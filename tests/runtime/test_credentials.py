"""Passwords and keys of a platform on this machine: made once, kept from others, marked as made for development."""

import stat
from pathlib import Path

import msgspec
import pytest

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.identity.keys import parse_private_keys, parse_public_keys
from bandstand.workspace.rotation import RotationStep
from bandstand.workspace.runtime.credentials import Credentials, load_credentials, save_credentials
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.keys import make_keys, service_key, trusted_keys, user_key


def test_credentials_are_made_once(tmp_path: Path) -> None:
    """The next start finds the same ones; a new service gets its own beside them."""
    path = tmp_path / "secrets.json"
    first = load_credentials(path, ["a"])
    again = load_credentials(path, ["a", "b"])
    assert again.services["a"] == first.services["a"]
    assert again.postgres == first.postgres
    assert load_credentials(path, ["a", "b"]) == again


def test_a_secret_that_an_earlier_release_did_not_know_is_made_once(tmp_path: Path) -> None:
    """A file without it is completed and written, so that all commands read the same; what was in it stays."""
    path = tmp_path / "secrets.json"
    first = load_credentials(path, ["a"])
    known = msgspec.json.decode(path.read_bytes())
    del known["rabbitmq"], known["services"]["a"]["rabbitmq"]
    path.write_bytes(msgspec.json.encode(known))
    found = load_credentials(path, ["a"])
    assert found.services["a"].postgres == first.services["a"].postgres
    assert found.rabbitmq != first.rabbitmq
    assert load_credentials(path, ["a"]) == found


def test_no_two_secrets_are_alike_and_all_are_marked(tmp_path: Path) -> None:
    """Each begins with the development mark, and none is used twice."""
    found = load_credentials(tmp_path / "secrets.json", ["a", "b"])
    secrets = [found.postgres, found.redis, found.nats, found.rabbitmq]
    for service in found.services.values():
        secrets += [service.secret_key, service.postgres, service.redis, service.nats, service.rabbitmq]
    assert len(set(secrets)) == 14
    assert all(secret.startswith(wire.DEVELOPMENT_MARK) and len(secret) > 50 for secret in secrets)


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    """The file is closed to others, also when somebody had opened it."""
    path = tmp_path / "secrets.json"
    load_credentials(path, ["a"])
    path.chmod(0o644)
    load_credentials(path, ["a"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_that_can_not_be_read_are_never_written_over(tmp_path: Path) -> None:
    """A broken file is a fault that says what depends on it."""
    path = tmp_path / "secrets.json"
    path.write_text("{")
    with pytest.raises(WorkspaceError, match="passwords of the databases"):
        load_credentials(path, ["a"])
    assert path.read_text() == "{"


def test_each_service_has_a_key_and_all_trust_all_public_ones(tmp_path: Path) -> None:
    """Private parts stay in each service's own file."""
    make_keys(tmp_path, ["a", "b"], ["a"])
    trusted = msgspec.json.decode(trusted_keys(tmp_path).read_bytes())["keys"]
    assert [key["service"] for key in trusted] == ["a", "b"]
    assert all("d" not in key and key["kid"].startswith(wire.DEVELOPMENT_MARK) for key in trusted)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_services_can_read_their_keys(tmp_path: Path) -> None:
    """What the runner writes is what a service reads: a signature of its key is verified with the trusted set."""
    make_keys(tmp_path, ["a", "b"], ["a"])
    for path in (service_key(tmp_path, "a"), user_key(tmp_path, "a")):
        (private,) = parse_private_keys(path.read_bytes())
        assert (private.service, private.is_for_development) == ("a", True)
        private.public.verifying().verify(private.signing().sign(b"x"), b"x")
    (own,) = parse_private_keys(service_key(tmp_path, "b").read_bytes())
    trusted = parse_public_keys(trusted_keys(tmp_path).read_bytes(), service_required=True)
    trusted[own.kid].verifying().verify(own.signing().sign(b"x"), b"x")


def test_keys_are_kept_and_what_left_is_trusted_no_more(tmp_path: Path) -> None:
    """A second start makes no new key; a service that left the workspace leaves the trusted set."""
    make_keys(tmp_path, ["a", "b"], ["a"])
    before = service_key(tmp_path, "a").read_bytes(), user_key(tmp_path, "a").read_bytes()
    make_keys(tmp_path, ["a"], ["a"])
    assert (service_key(tmp_path, "a").read_bytes(), user_key(tmp_path, "a").read_bytes()) == before
    assert len(msgspec.json.decode(trusted_keys(tmp_path).read_bytes())["keys"]) == 1


def test_the_state_folder_is_never_committed(tmp_path: Path) -> None:
    """It is closed to others and ignores itself in Git."""
    folder = StateFolder.of(tmp_path)
    folder.prepare()
    folder.prepare()
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    assert (folder.root / ".gitignore").read_text() == "*\n"


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A reader that has the old file open keeps reading the old content, and nothing temporary stays."""
    path = tmp_path / "f"
    replace_file(path, "old")
    with path.open() as reader:
        replace_file(path, "new", durable=True)
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ['{"kty":"OKP"', '{"kty":"OKP","crv":"Ed25519"}', "[]", ""])
def test_a_broken_key_is_named_and_kept(tmp_path: Path, content: str) -> None:
    """Half a key stops the start with its path and what to do, and is not written over."""
    path = service_key(tmp_path, "a")
    path.write_text(content)
    with pytest.raises(WorkspaceError, match=str(path)) as raised:
        make_keys(tmp_path, ["a"], [])
    assert "Remove the file" in raised.value.hint
    assert path.read_text() == content


def in_steps(found: Credentials) -> dict[RotationStep, Credentials]:
    accept = found.rotated(RotationStep.ACCEPT)
    use = accept.rotated(RotationStep.USE)
    return {
        RotationStep.ACCEPT: accept,
        RotationStep.USE: use,
        RotationStep.RETIRE: use.rotated(RotationStep.RETIRE),
    }


def test_both_users_are_accepted_until_the_last_step(tmp_path: Path) -> None:
    """First the old one is in use, then the new one, at last the new one is alone; it is another user each time."""
    old = load_credentials(tmp_path / "secrets.json", ["a"])
    steps = in_steps(old)
    names = {step: [account.user for account in found.accounts("postgres", ["a"])] for step, found in steps.items()}
    assert names == {
        RotationStep.ACCEPT: ["a", "a.b"],
        RotationStep.USE: ["a.b", "a"],
        RotationStep.RETIRE: ["a.b"],
    }
    accept, use, new = steps.values()
    assert set(accept.accounts("redis", ["a"])) == set(use.accounts("redis", ["a"]))
    assert accept.secret_keys("a") == use.secret_keys("a")[::-1]
    assert accept.secret_keys("a")[0] == old.secret_keys("a")[0]
    assert new.administrators("nats", "bandstand")[0] == accept.administrators("nats", "bandstand")[1]
    assert (new.rotation, new.others) == (None, None)
    assert [account.user for account in in_steps(new)[RotationStep.RETIRE].accounts("nats", ["a"])] == ["a"]


def test_a_rotation_outlasts_a_start(tmp_path: Path) -> None:
    """The state is read as it was written; a service that was added meanwhile has one password in each step."""
    path = tmp_path / "secrets.json"
    accept = load_credentials(path, ["a"]).rotated(RotationStep.ACCEPT)
    save_credentials(path, accept)
    assert load_credentials(path, ["a"]) == accept
    grown = load_credentials(path, ["a", "b"])
    [account] = grown.accounts("postgres", ["b"])
    use = grown.rotated(RotationStep.USE)
    assert use.accounts("postgres", ["b"]) == (account,)
    assert use.rotated(RotationStep.RETIRE).accounts("postgres", ["b"]) == (account,)


def ids(path: Path) -> list[str]:
    content = msgspec.json.decode(path.read_bytes())
    return [key["kid"] for key in content.get("keys", [content])]


def test_keys_change_in_three_steps(tmp_path: Path) -> None:
    """The new key is published before it signs, and the old one until nobody can have a token of it; done twice, each
    step changes nothing more.
    """
    make_keys(tmp_path, ["a", "b"], ["a"])
    service, users, trusted = service_key(tmp_path, "a"), user_key(tmp_path, "a"), trusted_keys(tmp_path)
    [old], [old_users], old_trusted = ids(service), ids(users), ids(trusted)
    for _ in range(2):
        make_keys(tmp_path, ["a", "b"], ["a"], step=RotationStep.ACCEPT)
        first, new = ids(service)
        assert (first, ids(users)[0], len(ids(trusted))) == (old, old_users, 4)
    for _ in range(2):
        make_keys(tmp_path, ["a", "b"], ["a"], step=RotationStep.USE)
        assert ids(service) == [new, old]
        assert (ids(users)[1], len(ids(trusted))) == (old_users, 4)
    for _ in range(2):
        make_keys(tmp_path, ["a", "b"], ["a"], step=RotationStep.RETIRE)
        assert ids(service) == [new]
        assert not set(ids(trusted)) & set(old_trusted)
    make_keys(tmp_path, ["a", "b"], ["a"])
    assert ids(service) == [new]
    assert [key.kid for key in parse_private_keys(users.read_bytes())] == ids(users)


def test_a_key_is_not_made_when_the_last_step_was_begun(tmp_path: Path) -> None:
    """A start after it was interrupted stays with the key that is there, since nobody knows another one yet."""
    make_keys(tmp_path, ["a"], [], step=RotationStep.ACCEPT)
    make_keys(tmp_path, ["a"], [], step=RotationStep.USE)
    make_keys(tmp_path, ["a"], [], step=RotationStep.RETIRE)
    before = ids(service_key(tmp_path, "a"))
    make_keys(tmp_path, ["a"], [], step=RotationStep.USE)
    assert ids(service_key(tmp_path, "a")) == before
