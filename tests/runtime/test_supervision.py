"""The rules, replayed: each test is a history of events and what was to be done at each."""

from collections.abc import Iterable

import msgspec
import pytest

from bandstand.workspace.runtime.messages import (
    Act,
    Answered,
    Ask,
    Broke,
    Change,
    Ended,
    Event,
    Exited,
    Finished,
    HurryRequested,
    JoinRequested,
    Kill,
    Launch,
    LeaveRequested,
    Missed,
    Passed,
    Perform,
    Phase,
    PlatformReady,
    Silent,
    Stop,
    StopRequested,
    UpdateRequested,
    Wake,
    Woke,
)
from bandstand.workspace.runtime.resources import Plan, Stage
from bandstand.workspace.runtime.session import waiting_text
from bandstand.workspace.runtime.supervision import RestartPolicy, Supervision
from tests.runtime.plans import Nothing, Waiting, plan, process, step, task


class Replay:
    """Feeds events to the rules; ``acts`` is all that was to be done so far, ``last`` what the last event caused."""

    def __init__(self, of: Plan, *, slots: int = 2, policy: RestartPolicy | None = None) -> None:
        self.rules = Supervision(of, slots=slots, policy=policy, fraction=lambda: 1.0)
        self.now = 0.0
        self.last: list[Act] = self.rules.begin(0.0)
        self.acts = list(self.last)

    def tell(self, event: Event, *, after: float = 0.0) -> list[Act]:
        self.now += after
        self.last = self.rules.react(event, self.now)
        self.acts += self.last
        return self.last

    def ready(self, *names: str) -> None:
        for name in names:
            self.tell(Passed(name=name))

    def done(self, *names: str) -> None:
        for name in names:
            self.tell(Exited(name=name, status=0))

    def wake(self, name: str) -> list[Act]:
        """Let the time pass that the last Wake for ``name`` asked for."""
        wake = next(act for act in reversed(self.acts) if isinstance(act, Wake) and act.name == name)
        return self.tell(Woke(name=name, generation=wake.generation), after=wake.delay)

    def phase(self, name: str) -> Phase:
        return self.rules.statuses[name].phase


def names(acts: Iterable[Act], kind: type[Launch | Ask | Stop | Kill | Perform]) -> list[str]:
    return [act.name for act in acts if isinstance(act, kind)]


def test_boot_waits_for_nothing_but_what_it_comes_after() -> None:
    """A process that only needs another starts at once; one that comes after another waits for it to be ready."""
    replay = Replay(plan(process("db"), process("web", needs="db"), process("worker", after="db")))
    assert names(replay.last, Launch) == ["db", "web"]
    replay.ready("db")
    assert names(replay.last, Launch) == ["worker"]


def test_nobody_is_asked_before_what_it_needs_is_ready() -> None:
    """Readiness is gated by needs: the question is put only when they are there."""
    replay = Replay(plan(process("db"), process("web", needs="db")))
    assert names(replay.last, Ask) == ["db"]
    replay.ready("db")
    assert names(replay.last, Ask) == ["web"]


def test_the_platform_is_ready_once_when_everything_is() -> None:
    """PlatformReady comes with the last resource, and never again."""
    replay = Replay(plan(process("a"), task("t"), step("s")))
    replay.ready("a")
    replay.done("t")
    assert PlatformReady() not in replay.acts
    assert PlatformReady() in replay.tell(Finished(name="s"))
    replay.tell(Missed(name="a", reason="x"))
    assert PlatformReady() not in replay.tell(Passed(name="a"))


def test_what_was_waited_for_is_waited_for_anew() -> None:
    """That the gateway knew a service is not true any more when the service fell before the platform was ready."""
    replay = Replay(plan(process("web"), process("worker"), step("told", action=Waiting(), after="web"), step("made")))
    replay.ready("web")
    replay.tell(Finished(name="made"))
    replay.tell(Finished(name="told"))
    replay.tell(Missed(name="web", reason="its database is away"))
    assert replay.phase("told") is Phase.WAITING
    replay.ready("worker", "web")
    assert names(replay.last, Launch) == ["told"]
    assert PlatformReady() not in replay.acts
    assert PlatformReady() in replay.tell(Finished(name="told"))
    replay.tell(Missed(name="web", reason="its database is away"))
    assert names(replay.acts, Launch).count("made") == 1
    assert replay.phase("told") is Phase.DONE


def test_only_so_many_tasks_of_services_run_at_once() -> None:
    """Tasks of services share the slots; the platform's own tasks and processes take none."""
    tasks = [task(f"migrate-{number}") for number in range(4)]
    replay = Replay(plan(task("check", service=""), *tasks, process("web")), slots=2)
    assert names(replay.last, Launch) == ["check", "migrate-0", "migrate-1", "web"]
    replay.done("migrate-1")
    assert names(replay.last, Launch) == ["migrate-2"]


def test_a_task_with_a_sequel_is_done_after_it() -> None:
    """What a task does after its command belongs to it: only then do others go on."""
    replay = Replay(plan(task("migrate", then=Nothing()), task("seed", after="migrate")))
    replay.done("migrate")
    assert names(replay.last, Perform) == ["migrate"]
    assert names(replay.tell(Finished(name="migrate")), Launch) == ["seed"]


def test_a_step_lets_what_is_done_be_skipped() -> None:
    """Resources that a step names as done never start, and count as done for those that come after them."""
    replay = Replay(plan(step("databases"), task("migrate", after="databases"), process("worker", after="migrate")))
    replay.tell(Finished(name="databases", skipped=("migrate",)))
    assert names(replay.last, Launch) == ["worker"]
    assert replay.phase("migrate") is Phase.DONE


def test_a_dead_process_comes_back_after_a_pause_that_grows() -> None:
    """Each death in a row doubles the pause up to the cap; jitter takes away at most half."""
    replay = Replay(plan(process("web")), policy=RestartPolicy(base=0.2, cap=1.0))
    replay.ready("web")
    delays = []
    for _ in range(4):
        acts = replay.tell(Exited(name="web", status=1), after=1.0)
        delays += [act.delay for act in acts if isinstance(act, Wake)]
        assert names(replay.wake("web"), Launch) == ["web"]
        replay.ready("web")
    assert delays == [0.2, 0.4, 0.8, 1.0]
    assert RestartPolicy(base=0.2).delay(1, 0.0) == pytest.approx(0.1)
    assert replay.rules.statuses["web"].restarts == 4


def test_who_can_never_be_ready_is_started_anew_at_once() -> None:
    """A new start is all that helps, with pauses that stay short: it works as soon as the reason outside is gone."""
    replay = Replay(plan(process("gateway")), policy=RestartPolicy(base=0.2, cap=10.0, outside=1.0))
    replay.ready("gateway")
    replay.tell(Exited(name="gateway", status=-9))
    replay.wake("gateway")
    delays = []
    for _ in range(4):
        missed = Missed(name="gateway", reason="its port is taken", never=True)
        assert names(replay.tell(missed), Kill) == ["gateway"]
        assert names(replay.tell(missed), Kill) == []  # it is being killed
        delays += [act.delay for act in replay.tell(Exited(name="gateway", status=-9)) if isinstance(act, Wake)]
        assert replay.rules.statuses["gateway"].reason == "its port is taken"
        assert names(replay.wake("gateway"), Launch) == ["gateway"]
    assert delays == [0.4, 0.8, 1.0, 1.0]
    replay.ready("gateway")
    assert replay.phase("gateway") is Phase.READY
    for _ in range(3):
        replay.tell(Exited(name="gateway", status=1))
        replay.wake("gateway")
    assert max(act.delay for act in replay.acts if isinstance(act, Wake) and act.delay < 60) == 10.0


def test_who_can_never_be_ready_ends_the_start() -> None:
    """While the platform starts it gets three tries, and the failure says why, long before its time is over."""
    replay = Replay(plan(process("gateway")))
    for _ in range(3):
        replay.tell(Missed(name="gateway", reason="its port is taken", never=True))
        replay.tell(Exited(name="gateway", status=-9))
        if replay.rules.failure is None:
            replay.wake("gateway")
    assert replay.rules.failure is not None
    assert replay.rules.failure.reason == "its port is taken"


def test_a_calm_time_makes_the_pause_short_again() -> None:
    """Who was ready for a while and dies then is started anew as after a first death."""
    replay = Replay(plan(process("web")), policy=RestartPolicy(base=0.2, calm=10.0))
    replay.ready("web")
    for wait in (0.0, 0.0, 11.0):
        replay.tell(Exited(name="web", status=1), after=wait)
        delay = next(act.delay for act in replay.last if isinstance(act, Wake))
        replay.wake("web")
        replay.ready("web")
    assert delay == 0.2


def test_three_deaths_before_it_was_ready_end_the_start() -> None:
    """While the platform starts, a process gets three tries; then everything stops, and the failure names it."""
    replay = Replay(plan(process("other"), process("web")))
    replay.ready("other")
    for _ in range(2):
        replay.tell(Exited(name="web", status=1))
        replay.wake("web")
    replay.tell(Exited(name="web", status=1))
    assert replay.rules.failure is not None
    assert (replay.rules.failure.name, replay.rules.failure.status) == ("web", 1)
    assert names(replay.last, Stop) == ["other"]
    assert Ended() in replay.tell(Exited(name="other", status=0))


def test_deaths_are_not_held_against_who_lacks_what_it_needs() -> None:
    """A process that dies because its database is not there yet is tried again until that is there."""
    replay = Replay(plan(process("db"), process("web", needs="db")))
    for _ in range(10):
        replay.tell(Exited(name="web", status=1))
        replay.wake("web")
    assert replay.rules.failure is None
    replay.ready("db")
    replay.ready("web")
    assert replay.rules.ready


def test_once_ready_no_number_of_deaths_stops_the_others() -> None:
    """A service that falls over and over again later is its own affair."""
    replay = Replay(plan(process("a"), process("b")))
    replay.ready("a", "b")
    for _ in range(20):
        replay.tell(Exited(name="a", status=1))
        replay.wake("a")
    assert replay.rules.failure is None
    assert replay.phase("b") is Phase.READY


def test_a_failing_task_ends_the_start() -> None:
    """A migration that fails stops everything; what waited for it never starts."""
    replay = Replay(plan(process("db"), task("migrate", after="db"), process("web", after="migrate")))
    replay.ready("db")
    acts = replay.tell(Exited(name="migrate", status=2))
    assert replay.rules.failure is not None
    assert replay.rules.failure.name == "migrate"
    assert names(acts, Stop) == ["db"]
    assert "web" not in names(replay.acts, Launch)


def test_a_step_that_breaks_ends_the_start() -> None:
    """What the runner itself can't do is a failure with its reason."""
    replay = Replay(plan(step("databases")))
    assert Ended() in replay.tell(Broke(name="databases", reason="no disk"))
    assert replay.rules.failure is not None
    assert replay.rules.failure.reason == "no disk"


def test_who_is_not_ready_in_time_ends_the_start() -> None:
    """The failure carries what the process last answered."""
    replay = Replay(plan(process("web")))
    replay.tell(Missed(name="web", reason="503: database failing"))
    acts = replay.wake("web")
    assert replay.rules.failure is not None
    assert "503: database failing" in replay.rules.failure.reason
    assert names(acts, Stop) == ["web"]


def test_time_does_not_run_against_who_waits_for_others() -> None:
    """The time to become ready begins anew while what a process needs is missing."""
    replay = Replay(plan(process("db"), process("web", needs="db")))
    assert any(isinstance(act, Wake) for act in replay.wake("web"))
    assert replay.rules.failure is None


def test_a_late_wake_of_an_earlier_life_is_ignored() -> None:
    """A time-out that was set for a process that died since does nothing to the next one."""
    replay = Replay(plan(process("web")))
    old = next(act for act in replay.acts if isinstance(act, Wake))
    replay.tell(Exited(name="web", status=1))
    replay.wake("web")
    replay.tell(Woke(name="web", generation=old.generation), after=100)
    assert replay.rules.failure is None
    assert replay.phase("web") is Phase.STARTING


def test_unready_is_not_dead() -> None:
    """A process whose probe fails is not restarted, and is ready again when the probe passes."""
    replay = Replay(plan(process("web")))
    replay.ready("web")
    replay.tell(Missed(name="web", reason="busy"))
    assert replay.phase("web") is Phase.UNREADY
    assert names(replay.last, Launch) == names(replay.last, Kill) == []
    replay.ready("web")
    assert replay.phase("web") is Phase.READY


def unready(policy: RestartPolicy | None = None) -> Replay:
    replay = Replay(plan(process("web"), process("other")), policy=policy)
    replay.ready("web", "other")
    replay.tell(Missed(name="web", reason="no answer in 5 s"))
    return replay


def test_who_gives_no_sign_of_life_for_long_is_started_anew() -> None:
    """After the time of silence it is killed once, told why, and comes back like any that died."""
    replay = unready(RestartPolicy(silence=30.0))
    for wait in (0.0, 10.0, 10.0, 9.9):
        assert names(replay.tell(Silent(name="web", reason="no answer in 5 s"), after=wait), Kill) == []
    assert names(replay.tell(Silent(name="web", reason="no answer in 5 s"), after=0.1), Kill) == ["web"]
    assert replay.tell(Silent(name="web", reason="no answer in 5 s"), after=5.0) == []
    replay.tell(Exited(name="web", status=-9))
    assert replay.phase("web") is Phase.BACKOFF
    assert replay.rules.statuses["web"].reason == "it gave no sign of life for 30 s (no answer in 5 s)"
    assert names(replay.wake("web"), Launch) == ["web"]
    replay.ready("web")
    assert replay.phase("other") is Phase.READY
    assert names(replay.tell(Silent(name="web", reason="x"), after=100), Kill) == []  # another life, another time


def test_who_answers_is_never_killed_whatever_it_lacks() -> None:
    """A process whose database is away is not ready for hours, and each answer of its own begins the time anew."""
    replay = unready(RestartPolicy(silence=30.0))
    for _ in range(200):
        replay.tell(Missed(name="web", reason="/health/ready/ answers 503"), after=20.0)
        replay.tell(Silent(name="web", reason="no answer in 5 s"))
        replay.tell(Answered(name="web"))
    assert names(replay.acts, Kill) == []
    assert replay.phase("web") is Phase.UNREADY


def test_a_pause_of_the_machine_is_no_silence() -> None:
    """Time in which nobody asked does not count alone: the questions without an answer must be several."""
    replay = unready(RestartPolicy(silence=30.0, questions=3))
    replay.tell(Silent(name="web", reason="x"))
    assert names(replay.tell(Silent(name="web", reason="x"), after=3600), Kill) == []
    replay.ready("web")
    replay.tell(Silent(name="web", reason="x"))
    assert names(replay.acts, Kill) == []


def test_what_is_late_is_named_without_who_waits_for_it() -> None:
    """After ten seconds the one that everybody waits for is named, with its probe's answer; the others are not."""
    replay = Replay(plan(process("db"), process("web", needs="db"), task("t", after="db")))
    replay.tell(Missed(name="db", reason="no answer in 5 s\nmore"))
    assert replay.rules.late(9.0, after=10.0) == []
    late = replay.rules.late(12.0, after=10.0)
    assert waiting_text(late, 12.0) == "Still waiting for db (12 s): no answer in 5 s"
    replay.ready("db")
    assert [status.resource.name for status in replay.rules.late(40.0, after=10.0)] == ["web", "t"]
    assert "t (40 s): see /logs/t.log" in waiting_text(replay.rules.late(40.0, after=10.0), 40.0)


def test_things_end_in_the_reverse_order() -> None:
    """Gateway, web, workers, servers: each stage only when the one before has ended."""
    replay = Replay(
        plan(
            process("db", stage=Stage.SERVER),
            process("web"),
            process("worker", stage=Stage.WORKER),
            process("gateway", stage=Stage.GATEWAY),
        )
    )
    replay.ready("db", "web", "worker", "gateway")
    order = names(replay.tell(StopRequested()), Stop)
    for name in ("gateway", "web", "worker", "db"):
        order += names(replay.tell(Exited(name=name, status=0)), Stop)
    assert order == ["gateway", "web", "worker", "db"]
    assert replay.last[-1] == Ended()


def test_only_who_was_ready_is_drained() -> None:
    """A gateway that is stopped while it starts has no request in flight, and is told to end at once."""
    replay = Replay(plan(process("early", stage=Stage.GATEWAY), process("late", stage=Stage.GATEWAY)))
    replay.ready("early")
    replay.tell(StopRequested())
    assert {act.name: act.hurry for act in replay.last if isinstance(act, Stop)} == {"early": False, "late": True}


def test_who_does_not_end_in_time_is_killed() -> None:
    """After its grace a process that was told to stop is killed."""
    replay = Replay(plan(process("web")))
    replay.ready("web")
    replay.tell(StopRequested())
    assert names(replay.wake("web"), Kill) == ["web"]
    assert Ended() in replay.tell(Exited(name="web", status=-9))


def test_what_has_not_started_never_does_when_it_is_stopped() -> None:
    """A stop while the platform starts ends what runs; what waited or paused is stopped without a start."""
    replay = Replay(plan(process("db"), task("migrate", after="db"), process("web")))
    replay.tell(Exited(name="web", status=1))
    replay.tell(StopRequested())
    replay.tell(Exited(name="db", status=0))
    assert replay.last[-1] == Ended()
    assert names(replay.acts, Launch) == ["db", "web"]


def test_a_second_request_hurries() -> None:
    """The services are killed at once; the servers are still asked, since they hold data, but only for a moment."""
    replay = Replay(plan(process("db", stage=Stage.SERVER), process("web"), process("gateway", stage=Stage.GATEWAY)))
    replay.ready("db", "web", "gateway")
    replay.tell(StopRequested())
    acts = replay.tell(HurryRequested())
    assert set(names(acts, Kill)) == {"web", "gateway"}
    assert names(acts, Stop) == ["db"]
    assert names(replay.wake("db"), Kill) == ["db"]


def test_a_process_that_dies_while_others_stop_is_not_started_anew() -> None:
    """Between the request to stop and a process's own turn its death is its end."""
    replay = Replay(plan(process("web"), process("gateway", stage=Stage.GATEWAY)))
    replay.ready("web", "gateway")
    replay.tell(StopRequested())
    replay.tell(Exited(name="web", status=1))
    assert Ended() in replay.tell(Exited(name="gateway", status=0))
    assert names(replay.acts, Launch) == ["web", "gateway"]


def test_one_that_joins_takes_the_place_of_one_that_leaves() -> None:
    """The new process starts at once and is asked; the old one works on for a while, ends, and is forgotten."""
    replay = Replay(plan(process("web", port=8001)))
    replay.ready("web")
    replay.tell(JoinRequested(name="web-2", process=process("web-2")))
    assert (names(replay.last, Launch), names(replay.last, Ask)) == (["web-2"], ["web-2"])
    replay.ready("web-2")
    assert (replay.phase("web"), replay.phase("web-2")) == (Phase.READY, Phase.READY)
    replay.tell(LeaveRequested(name="web"))
    (stop,) = [act for act in replay.last if isinstance(act, Stop)]
    assert (stop.name, stop.hurry, stop.linger) == ("web", False, replay.rules.policy.linger)
    replay.tell(Exited(name="web", status=0))
    assert Change(name="web", phase=Phase.STOPPED) in replay.last
    replay.tell(Passed(name="web-2"))
    assert set(replay.rules.statuses) == {"web-2"}
    replay.tell(Exited(name="web-2", status=1))  # from now on it is kept up as the old one was
    assert replay.phase("web-2") is Phase.BACKOFF


def test_one_that_leaves_is_killed_only_after_its_time() -> None:
    """What it has begun has its whole grace, from the moment when it is asked to end."""
    replay = Replay(plan(process("web", port=8001)))
    replay.ready("web")
    replay.tell(LeaveRequested(name="web"))
    (wake,) = [act for act in replay.last if isinstance(act, Wake)]
    assert wake.delay == 10.0 + replay.rules.policy.linger
    replay.wake("web")
    assert names(replay.last, Kill) == ["web"]


def test_one_that_nobody_asks_ends_at_once() -> None:
    """A worker has no callers who must learn first that it goes."""
    replay = Replay(plan(process("worker", stage=Stage.WORKER)))
    replay.ready("worker")
    replay.tell(LeaveRequested(name="worker"))
    assert Stop(name="worker", linger=0.0) in replay.last


@pytest.mark.parametrize("end", [Exited(name="web-2", status=1), None])
def test_one_that_joins_in_vain_changes_nothing(end: Event | None) -> None:
    """A new process that dies, or is not ready in time, is given up; the platform and the old one go on."""
    replay = Replay(plan(process("web")))
    replay.ready("web")
    replay.tell(JoinRequested(name="web-2", process=process("web-2")))
    if end is None:
        replay.wake("web-2")
        assert names(replay.last, Kill) == ["web-2"]
        end = Exited(name="web-2", status=-9)
    replay.tell(end)
    assert Change(name="web-2", phase=Phase.STOPPED) in replay.last
    assert names(replay.last, Launch) == []
    replay.tell(Passed(name="web"))
    assert (set(replay.rules.statuses), replay.phase("web"), replay.rules.stopping) == ({"web"}, Phase.READY, False)


def test_one_that_is_down_leaves_at_once() -> None:
    """A process that waits to be started again is not started again."""
    replay = Replay(plan(process("web"), process("other")))
    replay.ready("web", "other")
    replay.tell(Exited(name="web", status=1))
    replay.tell(LeaveRequested(name="web"))
    assert replay.phase("web") is Phase.STOPPED
    wake = next(act for act in reversed(replay.acts) if isinstance(act, Wake) and act.name == "web")
    replay.tell(Passed(name="other"))
    assert "web" not in replay.rules.statuses
    assert replay.tell(Woke(name="web", generation=wake.generation)) == []


def test_a_stop_ends_those_that_joined_too() -> None:
    """Who came later ends with the others."""
    replay = Replay(plan(process("web")))
    replay.ready("web")
    replay.tell(JoinRequested(name="web-2", process=process("web-2")))
    replay.ready("web-2")
    replay.tell(StopRequested())
    assert names(replay.last, Stop) == ["web", "web-2"]
    replay.done("web", "web-2")
    assert replay.rules.ended


def test_a_server_has_a_longer_silence_of_its_own() -> None:
    """A process with a ``silence`` of its own is killed after that, not after the policy's shorter one."""
    web = msgspec.structs.replace(process("web"), silence=60.0)
    replay = Replay(plan(web), policy=RestartPolicy(silence=30.0))
    replay.ready("web")
    replay.tell(Missed(name="web", reason="write error"))
    for _ in range(6):
        assert names(replay.tell(Silent(name="web", reason="write error"), after=10.0), Kill) == []
    assert names(replay.tell(Silent(name="web", reason="write error"), after=10.0), Kill) == ["web"]
    assert replay.rules.statuses["web"].killed_because == "it did not work for 60 s (write error)"


def test_a_process_is_watched_as_it_is_described_now() -> None:
    """Its description can change while it runs; nothing is started or stopped for that."""
    replay = Replay(plan(process("web")))
    replay.ready("web")
    replay.tell(UpdateRequested(name="web", process=process("web", port=8001)))
    assert (replay.last, replay.phase("web")) == ([], Phase.READY)
    assert replay.rules.statuses["web"].resource == process("web", port=8001)
