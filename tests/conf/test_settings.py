import dataclasses
import math

import msgspec
import pytest
from django.test import override_settings

from bandstand.conf import get_settings
from bandstand.conf.settings import EventsSettings
from bandstand.exceptions import ConfigurationError

_EVENTS = {field.encode_name for field in msgspec.structs.fields(EventsSettings) if not isinstance(field.default, str)}


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


@pytest.mark.parametrize("value", [0, 1, -3, True, "1", "five", 2.5, None, math.nan])
def test_one_death_never_buries_an_event(value: object) -> None:
    """With a process die all events that it had fetched, so fewer than two deaths would bury what is innocent."""
    with (
        override_settings(BANDSTAND={"SERVICE": "s", "EVENTS": {"MAX_DEATHS": value}}),
        pytest.raises(ConfigurationError) as caught,
    ):
        get_settings()
    assert len(caught.value.faults) == 1
    assert f'BANDSTAND["EVENTS"]["MAX_DEATHS"] is {value!r}; write a whole number from 2' in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, True, "soon", math.nan, math.inf])
@pytest.mark.parametrize("key", [*sorted(_EVENTS - {"MAX_DEATHS", "RETRY_DELAYS"})])
def test_a_number_of_events_without_sense_is_refused(key: str, value: object) -> None:
    """No limit of events can be switched off, or be nonsense, by writing 0, less, or what is no number."""
    with (
        override_settings(BANDSTAND={"SERVICE": "s", "EVENTS": {key: value}}),
        pytest.raises(ConfigurationError) as caught,
    ):
        get_settings()
    assert str(caught.value).startswith(f'BANDSTAND["EVENTS"]["{key}"] is {value!r}; write a ')


@pytest.mark.parametrize("value", [(), [0, -1], [0, True], [0, "soon"], 5, "0, 1", [math.inf]])
def test_delays_are_a_list_of_waits(value: object) -> None:
    """An event has at least one attempt, and no wait is negative or without end."""
    with (
        override_settings(BANDSTAND={"SERVICE": "s", "EVENTS": {"RETRY_DELAYS": value}}),
        pytest.raises(ConfigurationError, match="write a list of at least one number of seconds"),
    ):
        get_settings()


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Whoever repairs the settings sees each fault, where it stands and what to write, and no password."""
    value = {
        "EVENTS": {"MAX_DEATHS": 1, "THREADS": 0, "BATSH": 7, "LEASE": 15, "BROKER_URL": b"nats://user:geheim@host"},
        "HEALTH": {"TIMEOUT": "soon"},
        "CACHE": 5,
    }
    with override_settings(BANDSTAND=value), pytest.raises(ConfigurationError) as caught:
        get_settings()
    assert caught.value.faults == (
        'BANDSTAND["SERVICE"] is missing.',
        'BANDSTAND["EVENTS"]["MAX_DEATHS"] is 1; write a whole number from 2 to 1000000.',
        'BANDSTAND["EVENTS"]["THREADS"] is 0; write a whole number from 1 to 1000000.',
        'BANDSTAND["EVENTS"]["BATSH"] is not known; did you mean BATCH?',
        'BANDSTAND["EVENTS"]["BROKER_URL"] is wrong: Expected `str`, got `bytes`.',
        'BANDSTAND["HEALTH"]["TIMEOUT"] is wrong: Expected `float`, got `str`.',
        'BANDSTAND["CACHE"] is wrong: Expected `object`, got `int`.',
    )


def test_the_text_of_a_number_is_that_number() -> None:
    """What comes from an environment variable need not be converted."""
    events = {"MAX_DEATHS": "2", "LEASE": "1.5", "RETRY_DELAYS": ["0", 1]}
    with override_settings(BANDSTAND={"SERVICE": "s", "EVENTS": events}):
        found = get_settings().events
    assert (found.max_deaths, found.lease, found.retry_delays) == (2, 1.5, (0.0, 1.0))
