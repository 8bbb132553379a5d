"""Tests of the system check that compares the memory which all threads may need with the memory of the process."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from bandstand.api.memory import check_memory

OURS = "bandstand.identity.hashers.Argon2PasswordHasher"
DJANGOS = "django.contrib.auth.hashers.Argon2PasswordHasher"


def faults(settings: Settings, hasher: str, **limits: Any) -> list[str]:
    settings.PASSWORD_HASHERS = [hasher]
    settings.BANDSTAND = {**settings.BANDSTAND, "API": limits}
    return [str(fault.msg) for fault in check_memory()]


@pytest.mark.parametrize(
    ("hasher", "limits", "fits"),
    [
        (OURS, {"MEMORY": 384}, True),
        (DJANGOS, {"MEMORY": 384}, False),
        (DJANGOS, {"MEMORY": 1200}, True),
        (DJANGOS, {"MEMORY": 384, "THREADS": 1}, True),
        ("django.contrib.auth.hashers.ScryptPasswordHasher", {"MEMORY": 256}, False),
        ("django.contrib.auth.hashers.PBKDF2PasswordHasher", {"MEMORY": 256}, True),
        (OURS, {"MEMORY": 384, "MAX_BODY_BYTES": 10 * 1024 * 1024}, False),
        (OURS, {"MEMORY": 384, "THREADS": 64}, False),
        (DJANGOS, {}, True),  # nobody said how much there is
    ],
)
def test_memory_is_added_up(settings: Settings, hasher: str, limits: dict[str, Any], fits: bool) -> None:
    """The sum covers the process itself, a body for each thread, and each password that is hashed at once."""
    assert (faults(settings, hasher, **limits) == []) == fits


def test_the_sum_is_explained(settings: Settings) -> None:
    """The message names each part of the sum."""
    [text] = faults(settings, DJANGOS, MEMORY=384)
    assert "1024 MiB (160 MiB for the process itself + 64 MiB for 8 bodies + 800 MiB for 8 passwords)" in text
    assert "has 384" in text
