"""What happens to a platform (events), and what is to be done about it (acts), as values.

::

    events   Exited, Passed, Missed, Answered, Silent, Finished, Broke, Woke, JoinRequested, LeaveRequested,
             UpdateRequested, StopRequested, HurryRequested
    acts     Launch, Ask, Perform, Stop, Kill, Wake, Change, PlatformReady, Ended
"""

from enum import StrEnum

import msgspec

from bandstand.workspace.runtime.resources import Process

__all__ = [
    "Act",
    "Answered",
    "Ask",
    "Broke",
    "Change",
    "Ended",
    "Event",
    "Exited",
    "Finished",
    "HurryRequested",
    "JoinRequested",
    "Kill",
    "Launch",
    "LeaveRequested",
    "Missed",
    "Passed",
    "Perform",
    "Phase",
    "PlatformReady",
    "Silent",
    "Stop",
    "StopRequested",
    "UpdateRequested",
    "Wake",
    "Woke",
]


class Phase(StrEnum):
    """Where a resource is in its life."""

    WAITING = "waiting"  # for what it must come after
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"  # it was ready, and its probe fails now
    BACKOFF = "backoff"  # it died and is started anew after a pause
    DONE = "done"
    STOPPING = "stopping"
    STOPPED = "stopped"


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class Exited(_Message, frozen=True, kw_only=True):
    """A process ended; ``status`` is negative when a signal ended it."""

    status: int


class Passed(_Message, frozen=True, kw_only=True):
    """A probe said: ready."""


class Missed(_Message, frozen=True, kw_only=True):
    """The probe says: not ready, or not any more; where ``never``, only a new start can change that."""

    reason: str
    never: bool = False


class Answered(_Message, frozen=True, kw_only=True):
    """A process whose probe fails still answers: it is alive."""


class Silent(_Message, frozen=True, kw_only=True):
    """A process whose probe fails does not even say that it is alive."""

    reason: str


class Finished(_Message, frozen=True, kw_only=True):
    """An action of the runner itself ended well; ``skipped`` need not run."""

    skipped: tuple[str, ...] = ()


class Broke(_Message, frozen=True, kw_only=True):
    """An action failed, or a process could not be started at all."""

    reason: str


class Woke(_Message, frozen=True, kw_only=True):
    """The time of a :class:`Wake` has come."""

    generation: int


class JoinRequested(_Message, frozen=True, kw_only=True):
    """One more process is to run beside those of the plan."""

    process: Process


class LeaveRequested(_Message, frozen=True, kw_only=True):
    """A process is to end for good, while the platform goes on."""


class UpdateRequested(_Message, frozen=True, kw_only=True):
    """A process that runs is to be watched as ``process`` has it, and started so when it has to be started anew."""

    process: Process


class StopRequested(msgspec.Struct, frozen=True):
    """Somebody wants the platform to end in good order."""


class HurryRequested(msgspec.Struct, frozen=True):
    """Somebody does not want to wait for good order."""


Event = (
    Exited
    | Passed
    | Missed
    | Answered
    | Silent
    | Finished
    | Broke
    | Woke
    | JoinRequested
    | UpdateRequested
    | LeaveRequested
    | StopRequested
    | HurryRequested
)


class Launch(_Message, frozen=True, kw_only=True):
    """Start the process, or perform the step."""


class Ask(_Message, frozen=True, kw_only=True):
    """Begin to ask the process whether it is ready: what it needs is there."""


class Perform(_Message, frozen=True, kw_only=True):
    """Perform what a task does after its command."""


class Stop(_Message, frozen=True, kw_only=True):
    """Ask the process to end; with ``hurry`` without draining it first. ``linger``: in so many seconds."""

    hurry: bool = False
    linger: float = 0.0


class Kill(_Message, frozen=True, kw_only=True):
    """End the process group at once."""


class Wake(_Message, frozen=True, kw_only=True):
    """Send :class:`Woke` after ``delay`` seconds. A generation that has passed is ignored then."""

    generation: int
    delay: float


class Change(_Message, frozen=True, kw_only=True):
    """A resource is in another phase now: for whoever shows or publishes that."""

    phase: Phase


class PlatformReady(msgspec.Struct, frozen=True):
    """Everything is ready for the first time."""


class Ended(msgspec.Struct, frozen=True):
    """Nothing runs any more."""


Act = Launch | Ask | Perform | Stop | Kill | Wake | Change | PlatformReady | Ended
