"""The rules by which a plan is brought up, kept up and taken down: pure, so that a test replays any history.

:class:`Supervision` is told what happened (an event and the time) and answers what is to be done (actions). It starts
nothing, waits for nothing and reads no clock; ``supervisor.py`` is the loop that does.
"""

import random
from collections import deque
from collections.abc import Callable

import msgspec

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
from bandstand.workspace.runtime.resources import Plan, Process, Resource, Stage, Step, Task

__all__ = ["Failure", "RestartPolicy", "Status", "Supervision"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the platform could not start. ``status`` is the exit status of the process, if it was one."""

    name: str
    reason: str
    status: int | None = None


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a dead or stuck process is started anew: exponential backoff with jitter, in seconds.

    ``cap`` is the longest pause, and ``outside`` that of a process which could not begin for a reason outside of it: it
    works as soon as that is over, as a port that another program holds.
    ``patience`` is how often a process may die before it was ever ready; ``calm`` how long it must be ready for the
    backoff to begin anew. ``silence`` is how long a process that was ready may give no sign of life, unless it has a
    ``silence`` of its own, and ``questions`` how many probes must have stayed without an answer meanwhile: one alone
    may fall into a pause of the machine.
    ``linger`` is how long a process that leaves and has a port still works, until nobody asks it any more: a service
    that makes a call has looked at the registry within the last 0.2 seconds, and then takes its time to connect.
    """

    base: float = 0.2
    cap: float = 10.0
    outside: float = 3.0
    patience: int = 3
    calm: float = 10.0
    silence: float = 30.0
    questions: int = 3
    linger: float = 1.5

    def delay(self, deaths: int, fraction: float, *, outside: bool = False) -> float:
        """Return the pause after ``deaths`` deaths in a row: between half and the whole of the exponential value."""
        cap = self.outside if outside else self.cap
        return float(min(cap, self.base * 2 ** min(deaths - 1, 16))) * (0.5 + fraction / 2)


class Status(msgspec.Struct, kw_only=True):
    """What is known of one resource now; times are the clock's seconds."""

    resource: Resource
    phase: Phase = Phase.WAITING
    generation: int = 0
    restarts: int = 0
    deaths: int = 0  # in a row, without a calm time between them
    since: float = 0.0
    launched: float = 0.0
    was_ready: bool = False
    asked: bool = False
    skipped: bool = False
    reason: str = ""
    silent_since: float | None = None
    silences: int = 0  # questions in a row without an answer
    killed_because: str = ""
    outside: bool = False  # what killed it lies outside of it
    joined: bool = False  # after the start, in order to take the place of another
    gone: bool = False  # for good

    @property
    def fulfilled(self) -> bool:
        """True when those who depend on it may go on."""
        return self.phase in {Phase.READY, Phase.DONE}

    @property
    def alive(self) -> bool:
        return self.phase in {Phase.STARTING, Phase.READY, Phase.UNREADY, Phase.STOPPING}


class Supervision:
    """Decides; see the module's text. ``fraction`` returns a random number from 0 to 1 for the jitter.

    ``slots`` bounds how many services' tasks run at once, since each keeps a core busy.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        policy: RestartPolicy | None = None,
        slots: int = 2,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy or RestartPolicy()
        self.slots = slots
        self.fraction = fraction
        self.statuses = {resource.name: Status(resource=resource) for resource in plan.resources}
        self.failure: Failure | None = None
        self.ready = False
        self.stopping = False
        self.hurrying = False
        self.ended = False
        self.now = 0.0
        self._acts: deque[Act] = deque()

    def begin(self, now: float) -> list[Act]:
        """Return what is to be done first."""
        self.now = now
        self._advance()
        return self._taken()

    def react(self, event: Event, now: float) -> list[Act]:
        """Return what is to be done because of ``event``."""
        self.now = now
        self._forget_gone()
        match event:
            case StopRequested():
                self.stopping = True
            case HurryRequested():
                self._hurry()
            case JoinRequested():
                self.statuses[event.name] = Status(resource=event.process, joined=True)
            case UpdateRequested():
                self.statuses[event.name].resource = event.process
            case LeaveRequested():
                self._leave(self.statuses[event.name])
            case _ if event.name in self.statuses:  # else it was forgotten, and only its alarm was still set
                self._tell(self.statuses[event.name], event)
        self._advance()
        return self._taken()

    def late(self, now: float, *, after: float) -> list[Status]:
        """Return what has been starting for ``after`` seconds or longer and waits for nobody else."""
        return [
            status
            for status in self.statuses.values()
            if status.phase in {Phase.STARTING, Phase.BACKOFF}
            and now - status.launched >= after
            and self._fulfilled(status.resource.needs)
        ]

    # --- who comes and goes while the platform runs ----------------------------------------------

    def _leave(self, status: Status) -> None:
        status.gone = True
        if status.alive:
            listens = isinstance(status.resource, Process) and status.resource.port is not None
            self._stop(status, linger=self.policy.linger if listens else 0.0)
        else:
            self._enter(status, Phase.STOPPED)

    def _forget_gone(self) -> None:
        """Those who watch have been told of the end by now."""
        for name in [name for name, status in self.statuses.items() if status.gone and status.phase is Phase.STOPPED]:
            del self.statuses[name]

    # --- what an event does to its resource -----------------------------------------------------

    def _tell(
        self, status: Status, event: Exited | Passed | Missed | Answered | Silent | Finished | Broke | Woke
    ) -> None:
        match event:
            case Exited():
                self._exited(status, event.status)
            case Passed():
                self._passed(status)
            case Missed():
                self._missed(status, event)
            case Answered():
                _hear(status)
            case Silent():
                self._silent(status, event.reason)
            case Finished():
                self._finished(status, event.skipped)
            case Broke():
                self._broke(status, event.reason)
            case Woke() if event.generation == status.generation:
                self._woke(status)

    def _passed(self, status: Status) -> None:
        _hear(status)
        if status.phase in {Phase.STARTING, Phase.UNREADY}:
            self._enter(status, Phase.READY)

    def _missed(self, status: Status, event: Missed) -> None:
        status.reason = event.reason
        if status.phase is Phase.READY:
            self._enter(status, Phase.UNREADY)
        if event.never and status.phase in {Phase.STARTING, Phase.UNREADY} and not status.killed_because:
            status.outside = True
            self._kill(status, event.reason)

    def _silent(self, status: Status, reason: str) -> None:
        """Only silence is a reason to start anew: a process that answers is not helped by it, whatever it lacks."""
        if status.phase not in {Phase.READY, Phase.UNREADY} or status.killed_because:
            return
        status.silences += 1
        own = status.resource.silence if isinstance(status.resource, Process) else None
        if status.silent_since is None:
            status.silent_since = self.now
            return
        lasted = self.now - status.silent_since
        if lasted >= (self.policy.silence if own is None else own) and status.silences >= self.policy.questions:
            lacking = "gave no sign of life" if own is None else "did not work"
            self._kill(status, f"it {lacking} for {lasted:.0f} s ({reason})")

    def _kill(self, status: Status, reason: str) -> None:
        """End a process in order to start it anew."""
        status.killed_because = reason
        self._acts.append(Kill(name=status.resource.name))

    def _broke(self, status: Status, reason: str) -> None:
        if status.phase is Phase.STOPPING:
            self._enter(status, Phase.STOPPED)
        else:
            self._fail(status, reason)

    def _finished(self, status: Status, skipped: tuple[str, ...]) -> None:
        for name in skipped:
            other = self.statuses.get(name)
            if other is not None and other.phase is Phase.WAITING:
                other.skipped = True
                self._enter(other, Phase.DONE)
        if status.phase is Phase.STARTING:
            self._enter(status, Phase.DONE)
        elif status.phase is Phase.STOPPING:
            self._enter(status, Phase.STOPPED)

    def _exited(self, status: Status, code: int) -> None:
        if status.phase is Phase.STOPPING:
            self._enter(status, Phase.STOPPED)
        elif not isinstance(status.resource, Task):
            self._died(status, code)
        elif code != 0:
            self._fail(status, _describe_exit(code), code)
        elif status.resource.then is not None:
            self._acts.append(Perform(name=status.resource.name))
        else:
            self._enter(status, Phase.DONE)

    def _died(self, status: Status, code: int) -> None:
        calm = status.phase is Phase.READY and self.now - status.since >= self.policy.calm
        status.deaths = 1 if calm else status.deaths + 1
        status.reason = status.killed_because or _describe_exit(code)
        if status.joined and not status.was_ready:  # the one whose place it should take is still there
            status.gone = True
            self._enter(status, Phase.STOPPED)
            return
        if self._hopeless(status):
            self._fail(status, status.reason, code)
            return
        self._enter(status, Phase.BACKOFF)
        self._wake(status, self.policy.delay(status.deaths, self.fraction(), outside=status.outside))

    def _hopeless(self, status: Status) -> bool:
        """Only while the platform starts, and only where nothing else can be the cause."""
        if self.ready or status.was_ready:
            return False
        if not self._fulfilled(status.resource.needs):
            status.deaths = min(status.deaths, self.policy.patience - 1)
            return False
        return status.deaths >= self.policy.patience

    def _woke(self, status: Status) -> None:
        if status.phase is Phase.BACKOFF:
            status.restarts += 1
            self._launch(status)
        elif status.phase is Phase.STOPPING:
            self._acts.append(Kill(name=status.resource.name))
        elif status.phase is Phase.STARTING and isinstance(status.resource, Process):
            self._overdue(status, status.resource)

    def _overdue(self, status: Status, resource: Process) -> None:
        """It did not become ready in time: while the platform starts that is its end, later only the process's."""
        if not self._fulfilled(resource.needs):
            self._wake(status, resource.start_timeout)
            return
        reason = f"it was not ready after {resource.start_timeout:.0f} s"
        reason = f"{reason}: {status.reason}" if status.reason else reason
        if self.ready or status.was_ready:
            self._kill(status, reason)
        else:
            self._fail(status, reason)

    # --- what follows for the others ------------------------------------------------------------

    def _advance(self) -> None:
        """Do everything that the phases allow now."""
        if self.stopping:
            self._stop_next()
            return
        if not self.ready:
            self._doubt()
        for status in self.statuses.values():
            if status.phase is Phase.WAITING and self._fulfilled(status.resource.after) and self._has_slot(status):
                self._launch(status)
            if status.phase is Phase.STARTING and not status.asked and self._may_be_ready(status):
                status.asked = True
                self._acts.append(Ask(name=status.resource.name))
        if not self.ready and all(status.fulfilled for status in self.statuses.values()):
            self.ready = True
            self._acts.append(PlatformReady())

    def _doubt(self) -> None:
        """Whoever only waited knows what was true then: it waits anew where what it comes after has fallen since."""
        for status in self.statuses.values():
            resource = status.resource
            waited = status.phase is Phase.DONE and isinstance(resource, Step) and resource.action.waits
            if waited and not self._fulfilled(resource.after):
                self._enter(status, Phase.WAITING)

    def _may_be_ready(self, status: Status) -> bool:
        """What it needs gates its first readiness; afterwards it is judged by its own answers alone."""
        return isinstance(status.resource, Process) and (status.was_ready or self._fulfilled(status.resource.needs))

    def _fulfilled(self, names: tuple[str, ...]) -> bool:
        return all(self.statuses[name].fulfilled for name in names if name in self.statuses)

    def _has_slot(self, status: Status) -> bool:
        if not _is_heavy(status.resource):
            return True
        busy = sum(other.phase is Phase.STARTING and _is_heavy(other.resource) for other in self.statuses.values())
        return busy < self.slots

    def _launch(self, status: Status) -> None:
        status.asked = False
        status.killed_because, status.outside = "", False
        _hear(status)
        status.launched = self.now
        self._enter(status, Phase.STARTING)
        self._acts.append(Launch(name=status.resource.name))
        if isinstance(status.resource, Process):
            self._wake(status, status.resource.start_timeout)

    def _stop_next(self) -> None:
        """Stop the first stage that still has something running, and end when none has."""
        for status in self.statuses.values():
            if status.phase in {Phase.WAITING, Phase.BACKOFF}:
                self._enter(status, Phase.STOPPED)
        alive = [status for status in self.statuses.values() if status.alive]
        if alive:
            stage = min(status.resource.stage for status in alive)
            for status in alive:
                if self.hurrying or status.resource.stage == stage:
                    self._stop(status)
        elif not self.ended:
            self.ended = True
            self._acts.append(Ended())

    def _stop(self, status: Status, linger: float = 0.0) -> None:
        if status.phase is Phase.STOPPING:
            return
        self._enter(status, Phase.STOPPING)
        grace = status.resource.grace if isinstance(status.resource, Process) else 5.0
        # Who was never ready has no requests in flight, and may not be able to say so.
        hurry = self.hurrying or not status.was_ready
        self._acts.append(Stop(name=status.resource.name, hurry=hurry, linger=linger))
        self._wake(status, 3.0 if self.hurrying else grace + linger)

    def _hurry(self) -> None:
        """Give what the platform stands on a moment to end well, and nothing else any time at all."""
        self.stopping = self.hurrying = True
        for status in self.statuses.values():
            if status.alive and status.resource.stage is not Stage.SERVER:
                self._enter(status, Phase.STOPPING)
                self._acts.append(Kill(name=status.resource.name))

    def _fail(self, status: Status, reason: str, code: int | None = None) -> None:
        if self.failure is None and not self.stopping:
            self.failure = Failure(name=status.resource.name, reason=reason, status=code)
        status.reason = reason
        # After an exit nothing runs any more; a process that is only late must still be stopped.
        if code is not None or not isinstance(status.resource, Process):
            self._enter(status, Phase.STOPPED)
        self.stopping = True

    def _enter(self, status: Status, phase: Phase) -> None:
        if status.phase is phase:
            return
        status.phase = phase
        status.generation += 1
        status.since = self.now
        if phase is Phase.READY:
            status.was_ready, status.reason = True, ""
        self._acts.append(Change(name=status.resource.name, phase=phase))

    def _wake(self, status: Status, delay: float) -> None:
        self._acts.append(Wake(name=status.resource.name, generation=status.generation, delay=delay))

    def _taken(self) -> list[Act]:
        acts = list(self._acts)
        self._acts.clear()
        return acts


def _hear(status: Status) -> None:
    status.silent_since, status.silences = None, 0


def _is_heavy(resource: Resource) -> bool:
    return isinstance(resource, Task) and resource.service is not None


def _describe_exit(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with status {code}"
