import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise

import pytest

from bandstand.context import bind, current, new_context
from bandstand.exceptions import KeySetUnavailable
from bandstand.identity import PrivateKey, PublicKey, generate_key
from bandstand.identity.key_sets import RemoteKeySet
from tests.identity.conftest import Clock

INTERVAL = 10.0


class Issuer:
    """A key server that counts how often it is asked, and may be down."""

    def __init__(self) -> None:
        self.key = generate_key("user-service")
        self.keys = [self.key]
        self.asked = 0
        self.down = False
        self.slow: Callable[[], object] = int

    def __call__(self) -> Mapping[str, PublicKey]:
        self.asked += 1
        self.slow()
        if self.down:
            raise ConnectionError("refused")
        return {key.kid: key.public for key in self.keys}

    def rotate(self) -> PrivateKey:
        fresh = generate_key("user-service")
        self.keys.insert(0, fresh)
        return fresh


class Background:
    """Holds what was to run in the background until it is told to run it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop()()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def background() -> Background:
    return Background()


@pytest.fixture
def keys(issuer: Issuer, background: Background, clock: Clock) -> RemoteKeySet:
    return RemoteKeySet(issuer, interval=INTERVAL, clock=clock, spawn=background)


def test_the_set_is_fetched_at_the_first_question(issuer: Issuer, keys: RemoteKeySet) -> None:
    """Nothing is fetched before somebody asks, and a known key is not asked for twice."""
    assert issuer.asked == 0
    for _ in range(100):
        assert keys.find(issuer.key.kid) == issuer.key.public
    assert issuer.asked == 1


def test_the_set_can_be_fetched_before_the_first_question(issuer: Issuer, keys: RemoteKeySet) -> None:
    """Then no request waits for it, and it is not fetched a second time."""
    keys.prefetch()
    keys.prefetch()
    assert keys.find(issuer.key.kid) == issuer.key.public
    assert issuer.asked == 1


def test_fetching_in_vain_beforehand_changes_nothing(issuer: Issuer, keys: RemoteKeySet) -> None:
    """Services start in any order: the first request does not get to know that its issuer was not there yet."""
    issuer.down = True
    with pytest.raises(ConnectionError):
        keys.prefetch()
    issuer.down = False
    assert keys.find(issuer.key.kid) == issuer.key.public


def test_unknown_keys_fetch_once_in_an_interval(issuer: Issuer, keys: RemoteKeySet, clock: Clock) -> None:
    """However many unknown key ids arrive in a minute, the issuer is asked at most once in ten seconds."""
    keys.find(issuer.key.kid)
    asked_at = []
    for number in range(6000):
        before = issuer.asked
        assert keys.find(f"unknown-{number}") is None
        if issuer.asked > before:
            asked_at.append(clock.now)
        clock.pass_by(0.01)
    assert 5 <= len(asked_at) <= 6
    assert all(later - earlier >= INTERVAL for earlier, later in pairwise(asked_at))


def test_a_new_key_is_found(issuer: Issuer, keys: RemoteKeySet, clock: Clock) -> None:
    """A key that was published since the last fetch is found as soon as the interval allows."""
    keys.find(issuer.key.kid)
    fresh = issuer.rotate()
    assert keys.find(fresh.kid) is None
    clock.pass_by(INTERVAL)
    assert keys.find(fresh.kid) == fresh.public


def test_known_keys_work_while_the_issuer_is_down(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock
) -> None:
    """For ten minutes without the issuer every known key is found, at once, and the issuer is not hammered."""
    keys.find(issuer.key.kid)
    issuer.down = True
    for _ in range(600):
        clock.pass_by(1)
        waited_for = issuer.asked
        assert keys.find(issuer.key.kid) == issuer.key.public
        # Once the first fetch has failed, none is waited for any more.
        assert issuer.asked == waited_for
        background.run()
    assert issuer.asked <= 1 + 600 / INTERVAL
    issuer.down = False
    fresh = issuer.rotate()
    clock.pass_by(INTERVAL)
    keys.find(issuer.key.kid)
    background.run()
    assert keys.find(fresh.kid) == fresh.public


def test_an_unknown_key_while_the_issuer_is_down_keeps_the_set(
    issuer: Issuer, keys: RemoteKeySet, clock: Clock
) -> None:
    """A failed fetch for an unknown key takes nothing away."""
    keys.find(issuer.key.kid)
    issuer.down = True
    clock.pass_by(INTERVAL)
    assert keys.find("unknown") is None
    assert keys.find(issuer.key.kid) == issuer.key.public


def test_a_revoked_key_is_refused_within_a_minute_under_traffic(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock
) -> None:
    """The set is fetched again in the background, so that a key which the issuer took back is not believed for long."""
    keys.find(issuer.key.kid)
    issuer.rotate()
    issuer.keys.remove(issuer.key)
    for _ in range(60):
        clock.pass_by(1)
        keys.find(issuer.key.kid)
        background.run()
    assert keys.find(issuer.key.kid) is None


def test_a_revoked_key_is_refused_by_a_process_that_was_idle(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock
) -> None:
    """After an idle minute the first question waits for the new set instead of trusting the old one."""
    keys.find(issuer.key.kid)
    issuer.rotate()
    issuer.keys.remove(issuer.key)
    clock.pass_by(61)
    assert keys.find(issuer.key.kid) is None
    assert background.waiting == []


def test_the_background_fetches_once_at_a_time(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock
) -> None:
    """Many questions about a stale set begin one fetch."""
    keys.find(issuer.key.kid)
    clock.pass_by(31)
    for _ in range(50):
        assert keys.find(issuer.key.kid) == issuer.key.public
    assert len(background.waiting) == 1
    background.run()
    assert issuer.asked == 2


def test_without_any_set_nobody_can_say(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock
) -> None:
    """Until a first set is had a token is neither good nor bad; one attempt is made in a second."""
    issuer.down = True
    for tenth in range(100):
        with pytest.raises(KeySetUnavailable):
            keys.find(issuer.key.kid)
        background.run()
        assert issuer.asked <= 1 + tenth / 10
        clock.pass_by(0.1)
    assert issuer.asked >= 9
    issuer.down = False
    clock.pass_by(1)
    with pytest.raises(KeySetUnavailable):
        keys.find(issuer.key.kid)
    background.run()
    assert keys.find(issuer.key.kid) == issuer.key.public


@pytest.mark.parametrize("had_a_set", [True, False])
def test_nobody_waits_for_an_issuer_that_is_down(
    issuer: Issuer, keys: RemoteKeySet, background: Background, clock: Clock, had_a_set: bool
) -> None:
    """A flood of unknown keys can't tie requests to an issuer that hangs: after one failure nobody waits for it."""
    if had_a_set:
        keys.find(issuer.key.kid)
        clock.pass_by(INTERVAL)
    issuer.down = True
    waited = []
    issuer.slow = lambda: waited.append(1)
    for number in range(1000):
        with suppress(KeySetUnavailable):
            assert keys.find(f"unknown-{number}") is None
        clock.pass_by(0.1)
    assert waited == [1]
    assert len(background.waiting) == 1


def test_many_at_once_share_one_fetch(issuer: Issuer, clock: Clock) -> None:
    """Requests that meet an unknown key at the same time wait for one fetch, and all get its answer."""
    keys = RemoteKeySet(issuer, interval=INTERVAL, clock=clock)
    everybody_came = threading.Barrier(9)
    found: list[PublicKey | None] = []
    issuer.slow = lambda: everybody_came.wait(timeout=10)

    def ask() -> None:
        found.append(keys.find(issuer.key.kid))

    leader = threading.Thread(target=ask)
    leader.start()
    followers = [threading.Thread(target=lambda: (everybody_came.wait(timeout=10), ask())) for _ in range(8)]
    for thread in followers:
        thread.start()
    for thread in [leader, *followers]:
        thread.join(timeout=10)
    assert found == [issuer.key.public] * 9
    assert issuer.asked == 1


def test_the_fetch_runs_outside_of_the_request(issuer: Issuer, keys: RemoteKeySet) -> None:
    """A request with little time left can't make the fetch fail for all others."""
    seen = []
    issuer.slow = lambda: seen.append(current())
    with bind(new_context(timeout=0.001, user="u-1")):
        keys.find(issuer.key.kid)
    assert [(context.deadline, context.user) for context in seen] == [(None, None)]


def test_a_process_that_can_start_no_thread_goes_on(issuer: Issuer, clock: Clock) -> None:
    """Where the background is not to be had, known keys work and the next question tries again."""
    refused = []

    def spawn(_: Callable[[], None]) -> None:
        refused.append(1)
        raise RuntimeError("can't start new thread")

    keys = RemoteKeySet(issuer, interval=INTERVAL, clock=clock, spawn=spawn)
    keys.find(issuer.key.kid)
    clock.pass_by(31)
    assert keys.find(issuer.key.kid) == keys.find(issuer.key.kid) == issuer.key.public
    assert len(refused) == 2


def test_the_background_is_a_thread(issuer: Issuer, clock: Clock) -> None:
    """By default the set is fetched again beside the request that found it stale."""
    keys = RemoteKeySet(issuer, interval=INTERVAL, clock=clock)
    keys.find(issuer.key.kid)
    done = threading.Event()
    asked_by = []

    def remember() -> None:
        asked_by.append(threading.current_thread())
        done.set()

    issuer.slow = remember
    clock.pass_by(31)
    keys.find(issuer.key.kid)
    assert done.wait(timeout=10)
    assert asked_by[0] is not threading.current_thread()
