import pickle
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from bandstand.cache.sealing import open_sealed, seal


@pytest.mark.parametrize("value", [None, "text", 1, True, -5, 2**70, 1.5, {"a": (1, b"x")}])
def test_what_is_sealed_can_be_opened(value: Any) -> None:
    """Each value comes back; a plain int is stored as Redis counts."""
    stored = seal("key", value)
    data = str(stored).encode() if isinstance(stored, int) else stored
    assert open_sealed("key", data) == value
    assert isinstance(stored, int) == (type(value) is int and value < 2**63)


@pytest.mark.parametrize("position", range(0, 30, 3))
def test_a_changed_byte_breaks_the_seal(position: int) -> None:
    """Nobody without the secret key changes a value."""
    stored = seal("key", {"is_staff": False, "name": "ada"})
    assert isinstance(stored, bytes)
    changed = bytearray(stored)
    changed[position] ^= 1
    with pytest.raises(ValueError):
        open_sealed("key", bytes(changed))


def test_a_value_belongs_to_its_key() -> None:
    """A value that is copied to another key is refused there."""
    stored = seal("user:1", {"is_staff": True})
    assert isinstance(stored, bytes)
    with pytest.raises(ValueError, match="seal"):
        open_sealed("user:2", stored)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01" + b"x" * 40, b'{"a":1}', pickle.dumps([1]), b"1.5", b"\x80"])
def test_what_somebody_wrote_by_hand_is_refused(data: bytes) -> None:
    """Not even valid JSON is believed, and nothing is ever run."""
    with pytest.raises(ValueError):
        open_sealed("key", data)


def test_another_secret_key_is_another_seal(settings: Settings) -> None:
    """After a change of SECRET_KEY everything kept before is a miss."""
    stored = seal("key", "value")
    assert isinstance(stored, bytes)
    settings.SECRET_KEY = "another"
    with pytest.raises(ValueError, match="seal"):
        open_sealed("key", stored)
