import logging
import os
from collections.abc import Callable
from functools import partial
from threading import Thread

import pytest

from bandstand.context import render_metrics
from bandstand.discovery import Instance, MemoryRegistry, use_registry
from bandstand.discovery import watching as module
from bandstand.discovery.backends.watched import Instances, WatchedRegistry, seen
from bandstand.discovery.health import OldList, RegistryTrouble, check_registry
from bandstand.discovery.watching import GRACE, RegistryAway, Seen, Watch
from bandstand.exceptions import NoInstances, UnknownService
from tests.clock import Clock
from tests.waiting import GUARD

A = Instance(id="a", url="http://a:1")
B = Instance(id="b", url="http://b:1")
ILL = Instance(id="a", url="http://a:1", healthy=False)


class Script:
    """A registry that gives the next answer, or raises it."""

    def __init__(self, *answers: Seen[Instances] | Exception) -> None:
        self.answers = list(answers)
        self.marks: list[str] = []

    def __call__(self, mark: str) -> Seen[Instances]:
        self.marks.append(mark)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch(script: Script, clock: Clock, *, chance: float = 1.0, grace: float = GRACE) -> Watch[Instances]:
    return Watch(
        "user-service",
        script,
        empty=(),
        clock=clock,
        chance=lambda: chance,
        start=lambda *_: None,
        grace=grace,
    )


def test_the_mark_of_an_answer_goes_into_the_next_look(clock: Clock) -> None:
    """A registry that waits for changes is told what was seen last, and after a failure begins anew."""
    script = Script(seen((A,), mark="7"), seen((B,), mark="9"), RegistryAway("gone"), seen((A,)))
    watching = watch(script, clock)
    for _ in range(4):
        watching.step()
    assert script.marks == ["", "7", "9", ""]


def test_the_last_good_list_stays(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A registry that is away, however long, takes nobody out of the list; that is one line, and one at its end."""
    caplog.set_level(logging.INFO)
    watching = watch(Script(seen((A,)), *[RegistryAway("no route")] * 5, seen((A, B))), clock)
    for _ in range(6):
        watching.step()
        clock.now += 1000
    assert watching.get() == (A,)
    assert watching.age == 6000
    assert "no route" in watching.trouble
    watching.step()
    assert watching.get() == (A, B)
    assert (watching.age, watching.trouble) == (0, "")
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


def test_an_answer_that_is_none_is_a_trouble_too(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a registry sends, the thread goes on; the log gets the traceback once."""
    watching = watch(Script(seen((A,)), *[ValueError("no index")] * 3), clock)
    for _ in range(4):
        watching.step()
    assert watching.get() == (A,)
    assert "ValueError" in watching.trouble
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_pauses_grow_and_are_random(clock: Clock) -> None:
    """Processes that lose the registry at the same moment do not come back at the same moment."""
    watching = watch(Script(*[RegistryAway("gone")] * 9), clock, chance=0.5)
    pauses = [watching.step() for _ in range(9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5, 2.5]


def test_a_registry_that_was_away_is_not_believed_to_know_nobody(clock: Clock) -> None:
    """Consul restarted empty: the list stays until everybody had the time to register again, and no longer."""
    watching = watch(Script(seen((A,)), RegistryAway("gone"), *[seen(())] * 3), clock)
    for _ in range(3):
        watching.step()
    clock.now += GRACE - 1
    watching.step()
    assert watching.get() == (A,)
    clock.now += 1
    watching.step()
    assert watching.get() == ()


def test_a_registry_that_begins_anew_is_not_believed_at_once(clock: Clock) -> None:
    """A restart so short that no look failed is known by its index, and ill instances may only not be checked yet."""
    watching = watch(Script(seen((A,), mark="70"), seen((ILL,), mark="3", restarted=True), seen((ILL,))), clock)
    watching.step()
    watching.step()
    assert watching.get() == (A,)
    clock.now += GRACE
    watching.step()
    assert watching.get() == (ILL,)


def test_who_came_back_first_is_called(clock: Clock) -> None:
    """Within the time of grace a list with somebody in it is a good list."""
    watching = watch(Script(seen((A, B)), RegistryAway("gone"), seen(()), seen((B,))), clock)
    for _ in range(4):
        watching.step()
    assert watching.get() == (B,)


def test_without_grace_an_empty_registry_stops_calls(clock: Clock) -> None:
    """The grace is what keeps the list over a restart."""
    watching = watch(Script(seen((A,)), RegistryAway("gone"), seen(())), clock, grace=0)
    for _ in range(3):
        watching.step()
    assert watching.get() == ()


def test_a_healthy_registry_is_believed(clock: Clock) -> None:
    """Whoever left in good order is forgotten at once."""
    watching = watch(Script(seen((A,)), seen(())), clock)
    watching.step()
    watching.step()
    assert watching.get() == ()


def test_a_thread_that_could_not_start_is_tried_again(clock: Clock) -> None:
    """A machine without threads is a trouble and no error; nobody waits, nor tries again before the pause is over."""
    tries: list[str] = []

    def start(run: Callable[[], None], name: str) -> None:
        tries.append(name)
        if len(tries) <= 2:
            raise RuntimeError("can't start new thread")
        watching.step()

    watching = Watch(
        "user-service", Script(seen((A,))), empty=(), clock=clock, chance=lambda: 1.0, start=start, grace=GRACE
    )
    assert watching.get() == ()
    assert "can't start new thread" in watching.trouble
    assert watching.get() == ()
    clock.now += 0.2
    assert watching.get() == ()
    assert len(tries) == 2
    clock.now += 0.4
    assert watching.get() == watching.get() == (A,)
    assert (len(tries), watching.trouble) == (3, "")


def test_who_asks_when_the_patience_is_over_does_not_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who ask for a name that never had an answer wait together, counted from the first of them."""
    patience = 2 * GUARD
    monkeypatch.setattr(module, "FIRST_ANSWER", patience)

    def start(*_: object) -> None:
        clock.now += patience

    watching = Watch("user-service", Script(), empty=(), clock=clock, start=start)
    asker = Thread(target=lambda: [watching.get() for _ in range(3)], daemon=True)
    asker.start()
    asker.join(GUARD)
    assert not asker.is_alive()


class Scripted(WatchedRegistry):
    """Looks when it is asked for the first time, on the thread that asks."""

    def __init__(self, answers: dict[str, Seen[Instances] | Exception], clock: Clock | None = None) -> None:
        super().__init__()
        self.answers = answers
        self.clock = clock
        self.started: list[str] = []

    def look_at(self, service: str, mark: str, /) -> Seen[Instances]:
        answer = self.answers.get(service) or seen(())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _make(self, service: str) -> Watch[Instances]:
        def start(run: Callable[[], None], name: str) -> None:
            self.started.append(name)
            watching.step()

        # Its own clock jumps, so that nobody waits for a first answer that does not come.
        moments = iter(range(0, 10**6, 10))
        look = partial(self.look_at, service)
        watching = Watch(service, look, empty=(), start=start, clock=self.clock or moments.__next__)
        return watching


def test_each_name_is_watched_once() -> None:
    """A thread for each name that was asked for, however often."""
    registry = Scripted({"a": seen((A,)), "b": seen((B,))})
    for name in ("a", "b", "a"):
        assert registry.instances(name)
    assert registry.started == ["discovery-a", "discovery-b"]
    assert registry.services() == {"a": (A,), "b": (B,)}


def test_unknown_and_away_are_told_apart() -> None:
    """A name that the registry does not have, one without instances, and one that nobody could ask for yet."""
    registry = Scripted({"empty": seen((), known=True), "lost": RegistryAway("no route")})
    with pytest.raises(UnknownService):
        registry.instances("nobody")
    with pytest.raises(NoInstances):
        registry.instances("empty")
    with pytest.raises(NoInstances, match="no route"):
        registry.instances("lost")


def test_health_tells_of_a_registry_in_trouble() -> None:
    """The live check fails while the list may be old, with the reason for the log."""
    registry = Scripted({"lost": RegistryAway("no route")})
    with use_registry(registry):
        check_registry()
        registry.look_up("lost")
        with pytest.raises(RegistryTrouble, match="no route"):
            check_registry()
    with use_registry(MemoryRegistry()):
        check_registry()


def test_health_tells_how_old_the_list_is() -> None:
    """The age is that of the oldest list that could not be renewed, however old those are that need no renewal yet."""
    clock = Clock()
    registry = Scripted({"well": seen((A,)), "lost": seen((A,)), "gone": seen((A,))}, clock)
    for name in registry.answers:
        registry.look_up(name)
    for name, seconds in (("lost", 20), ("gone", 30)):
        clock.now += seconds
        registry.answers[name] = RegistryAway("no route")
        registry._watches[name].step()
    clock.now += 0.5
    with use_registry(registry), pytest.raises(OldList) as caught:
        check_registry()
    assert caught.value.age == 50.5
    registry.answers["lost"] = registry.answers["gone"] = seen((A,))
    registry._watches["gone"].step()
    registry._watches["lost"].step()
    assert registry.age() == 0


def test_metrics_tell_of_the_list() -> None:
    """Age and number of healthy instances of each service that is watched."""
    Scripted({"measured": seen((A, ILL))}).instances("measured")
    page = render_metrics()[0].decode()
    assert 'bandstand_discovery_instances{service="measured"} 1.0' in page
    assert 'bandstand_discovery_age_seconds{service="measured"}' in page


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # what the child does is safe
def test_a_forked_child_begins_its_own_watch() -> None:
    """A child has the parent's list at once, and none of its threads: it starts one of its own when it is asked."""
    registry = Scripted({"a": seen((A,))})
    registry.instances("a")
    assert registry.started == ["discovery-a"]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if registry.instances("a") == (A,) and registry.started == ["discovery-a"] * 2:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert registry.started == ["discovery-a"]
