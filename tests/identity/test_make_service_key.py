import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from bandstand.identity import load_keys, service_token, verify_service_token
from bandstand.identity.keys import parse_public_keys
from bandstand.management.commands.make_service_key import Command
from tests.identity.conftest import World


def make(*arguments: object) -> None:
    call_command(Command(), *map(str, arguments), verbosity=0)


def test_a_made_key_works(tmp_path: Path, settings: Any) -> None:
    """From nothing to a token that the service itself believes, with two files."""
    settings.BANDSTAND = {"SERVICE": "test-service"}
    private, trusted = tmp_path / "key.json", tmp_path / "trusted.json"
    make(private, "--trusted", trusted)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    settings.BANDSTAND = {
        "SERVICE": "test-service",
        "IDENTITY": {"SERVICE_KEY_FILE": str(private), "TRUSTED_KEYS_FILE": str(trusted)},
    }
    load_keys()
    assert verify_service_token(service_token("test-service")).iss == "test-service"


def test_the_keys_that_are_trusted_stay(configured: World) -> None:
    """A new key joins the set; the keys of others, and the old one of ours, remain for the overlap."""
    trusted = Path(configured.path("trusted.json"))
    before = parse_public_keys(trusted.read_bytes())
    make(configured.folder / "new.json", "--trusted", trusted)
    after = parse_public_keys(trusted.read_bytes())
    assert before.items() <= after.items()
    assert [after[kid].service for kid in after.keys() - before.keys()] == ["test-service"]
    assert not any("d" in key for key in json.loads(trusted.read_text())["keys"])


def test_a_key_is_never_overwritten(configured: World) -> None:
    """A name that is taken is refused, and nothing is trusted that is in no file."""
    before = {path.name: path.read_bytes() for path in configured.folder.iterdir()}
    with pytest.raises(CommandError, match="exists already"):
        make(configured.path("own.json"), "--trusted", configured.path("trusted.json"))
    assert {path.name: path.read_bytes() for path in configured.folder.iterdir()} == before


def test_a_key_set_that_is_none_is_told(configured: World) -> None:
    """A file that is no key set is left as it is, and no key is made."""
    trusted = configured.write("broken.json", {"keys": "x"})
    with pytest.raises(CommandError, match=r"broken\.json is not a JSON Web Key"):
        make(configured.folder / "new.json", "--trusted", trusted)
    assert not (configured.folder / "new.json").exists()
