import pytest
from pytest_django import Settings

from bandstand.client import ServiceClient
from bandstand.client.policies import configured_policies, configured_policy
from bandstand.exceptions import ConfigurationError


def test_a_target_has_what_is_said_of_all_and_of_it(settings: Settings) -> None:
    """What is written for one service takes the place of what is written for all, key by key."""
    client = {"TIMEOUT": 2, "RETRIES": 1, "TARGETS": {"user-service": {"TIMEOUT": 0.5}}}
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": client}
    assert (configured_policy("user-service").timeout, configured_policy("user-service").retries) == (0.5, 1)
    assert configured_policy("order-service").timeout == 2


def test_all_faults_of_all_targets_are_told_at_once(settings: Settings) -> None:
    """Whoever repairs the settings sees each limit that makes no sense, where it stands and what to write."""
    targets = {"user-service": {"RETRIES": -1, "BREAKER": "ajar"}, "order-service": 7}
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": 0, "RETRYS": 2, "TARGETS": targets}}
    with pytest.raises(ConfigurationError) as caught:
        configured_policies()
    assert caught.value.faults == (
        'BANDSTAND["CLIENT"]["TIMEOUT"] is 0; write a number of seconds above 0, at most 3600.',
        'BANDSTAND["CLIENT"]["RETRYS"] is not known; did you mean RETRIES?',
        'BANDSTAND["CLIENT"]["TARGETS"]["user-service"]["RETRIES"] is -1; write a whole number from 0 to 10.',
        """BANDSTAND["CLIENT"]["TARGETS"]["user-service"]["BREAKER"] is 'ajar'; write "auto", "open" or "closed".""",
        'BANDSTAND["CLIENT"]["TARGETS"]["order-service"] is 7; write a dictionary.',
    )
    with pytest.raises(ConfigurationError):
        ServiceClient("user-service").get("/x/")


def test_targets_that_are_no_dictionary_are_a_fault(settings: Settings) -> None:
    """The wrong form of the whole table is told like a wrong value in it."""
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TARGETS": ["user-service"]}}
    with pytest.raises(ConfigurationError, match="TARGETS"):
        configured_policies()
