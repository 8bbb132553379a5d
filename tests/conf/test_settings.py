import dataclasses

import pytest
from django.test import override_settings

from bandstand.conf import get_settings
from bandstand.exceptions import ConfigurationError


def test_settings_are_frozen() -> None:
    """Nobody changes a setting at run time."""
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        get_settings().service = "other"  # type: ignore[misc]


def test_rebuilt_when_django_says_that_they_changed() -> None:
    """override_settings works in tests as for every other setting."""
    before = get_settings()
    with override_settings(BANDSTAND={"SERVICE": "other", "API": {"PAGE_SIZE": 3}}):
        assert get_settings().service == "other"
        assert get_settings().api.page_size == 3
    assert get_settings() == before


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"SERVICE": "s", "HEALTH": {"TIMOUT": 1}}, "TIMOUT"),
        ({"SERVICE": "s", "HEALTH": {"TIMEOUT": "soon"}}, "TIMEOUT"),
        ({}, "SERVICE"),
        (None, "missing"),
    ],
)
def test_a_wrong_setting_is_named(value: object, named: str) -> None:
    """A misspelled key or a wrong type is an error that names the key, never a silent default."""
    with override_settings(BANDSTAND=value), pytest.raises(ConfigurationError, match=named):
        get_settings()
