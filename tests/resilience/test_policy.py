import math
import random

import pytest

from bandstand.exceptions import ConfigurationError
from bandstand.resilience import Policy, full_jitter


@pytest.mark.parametrize(("retry", "most"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (5000, 0.5)])
def test_full_jitter_doubles_up_to_the_cap(retry: int, most: float) -> None:
    """The longest wait is the base, doubled for each further retry, and never more than the cap."""
    assert full_jitter(retry, base=0.1, cap=0.5, chance=lambda: 1.0) == pytest.approx(most)
    assert full_jitter(retry, base=0.1, cap=0.5, chance=lambda: 0.0) == 0.0


def test_full_jitter_spreads_over_the_whole_range() -> None:
    """Waits are spread evenly from nothing to the longest, so that clients that failed together do not return so."""
    chance = random.Random(7).random
    waits = [full_jitter(3, base=0.1, cap=1.0, chance=chance) for _ in range(2000)]
    assert sum(wait < 0.1 for wait in waits) == pytest.approx(500, abs=80)
    assert sum(waits) / len(waits) == pytest.approx(0.2, abs=0.01)


def test_the_first_retry_is_number_one() -> None:
    """Asking for a wait before the first attempt is a mistake in the caller, and said so."""
    with pytest.raises(ValueError, match="first retry is 1"):
        full_jitter(0, base=0.1, cap=1.0)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Without a word, a call connects within 0.5 s, ends within 1 s and is retried twice at most."""
    policy = Policy()
    assert (policy.connect_timeout, policy.timeout, policy.retries) == (0.5, 1.0, 2)


@pytest.mark.parametrize(
    ("timeout", "inherited", "end"),
    [
        (None, None, 101.0),  # the policy's own
        (0.2, None, 100.2),  # shorter because told
        (5.0, None, 105.0),  # longer because told
        (None, 100.4, 100.4),  # the caller waits no longer
        (5.0, 100.4, 100.4),  # and nothing that is told changes that
        (0.2, 100.4, 100.2),
        (None, 99.0, 99.0),  # over already
    ],
)
def test_the_deadline_is_never_past_the_callers(timeout: float | None, inherited: float | None, end: float) -> None:
    """A call ends after its own time-out or with the caller's deadline, whichever is first."""
    assert Policy().deadline(100.0, timeout=timeout, inherited=inherited) == pytest.approx(end)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["connect_timeout", "timeout", "backoff_base", "backoff_cap"])
def test_a_time_without_sense_is_refused(name: str, value: float) -> None:
    """No limit can be switched off by writing 0, a negative number, NaN or infinity."""
    with pytest.raises(ConfigurationError, match=name):
        Policy(**{name: value})


def test_all_faults_of_a_policy_are_told_at_once() -> None:
    """Whoever repairs a policy sees everything that is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        Policy(timeout=0, retries=-1, max_response_bytes=0)
    assert len(caught.value.faults) == 3


def test_the_policys_backoff_is_full_jitter() -> None:
    """A policy waits as its base and cap say."""
    policy = Policy(backoff_base=0.1, backoff_cap=0.15)
    assert [policy.backoff(retry, lambda: 1.0) for retry in (1, 2, 3)] == pytest.approx([0.1, 0.15, 0.15])
