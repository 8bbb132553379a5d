"""What a plan is made of: frozen resources that say what to run and when it counts as ready, and do nothing.

::

    Resource
    ├── Process     runs until it is told to stop; ready when its probe says so; started anew when it dies
    ├── Task        a command that ends; ready when it ended well
    └── Step        something that the runner does itself, through an Action; ready when that returned

``after`` names what must be ready before a resource starts, ``needs`` what must be ready before it counts as ready.
"""

import signal
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from bandstand.workspace.runtime.remedies import Remedy

__all__ = [
    "Account",
    "Action",
    "Command",
    "File",
    "NeverReady",
    "NotReady",
    "Plan",
    "Probe",
    "Process",
    "Resource",
    "Stage",
    "Step",
    "Task",
]

# How a program that refuses to run as root is run by root; see shim.py.
Account = Literal["self", "namespace", "nobody"]


class NotReady(Exception):
    """A probe's answer: not yet, and why."""


class NeverReady(NotReady):
    """A probe's answer: waiting is of no use, only a new start is, and why."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Asks one process whether it is ready. ``timeout`` is in seconds.

    ``again`` is the pause in seconds between two questions once the process was ready; None asks no more, because the
    end of the process says all.
    """

    timeout: float = 5.0
    again: float | None = None

    async def check(self) -> None:
        """Return when the process is ready, else raise :class:`NotReady` or any ``OSError``."""
        raise NotImplementedError


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the runner does in its own process.

    One that only ``waits`` is dropped when all is to end, and performed anew where what its step comes after has fallen
    before the platform is ready.
    """

    waits: ClassVar[bool] = False

    async def perform(self) -> tuple[str, ...]:
        """Do it, and return the names of resources that need not run now; an exception says why it failed."""
        raise NotImplementedError


class Stage(IntEnum):
    """The order in which things end: the gateway first, so that nobody is sent to a service that has gone."""

    GATEWAY = 0
    WEB = 1
    WORKER = 2
    TASK = 3
    SERVER = 4


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program with its arguments, its whole environment and the folder that it runs in."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = {}
    account: Account = "self"

    def __repr__(self) -> str:
        return f"Command({' '.join(self.arguments)!r})"  # the environment holds passwords


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the plan. ``service`` is None for what belongs to the platform; ``label`` is for people."""

    name: str
    label: str
    stage: Stage
    service: str | None = None
    after: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Process(Resource, frozen=True, kw_only=True):
    """A process that stays.

    ``probe`` says whether others may use it. ``liveness`` is asked when that fails: a process that gives no answer to
    it for ``silence`` seconds is stuck, and started anew.

    ``data`` is the folder that holds what it would lose if one began anew.
    To end it, ``drain`` is performed and then ``stop_signal`` sent; after ``grace`` seconds it is killed.
    ``place`` is the name in the plan of the process that it replaces, if it does. ``reread`` is performed when its
    files have changed while it runs.
    """

    command: Command
    log: Path
    probe: Probe
    port: int | None = None
    url: str | None = None
    stop_signal: int = signal.SIGTERM
    grace: float = 10.0
    start_timeout: float = 60.0
    ready_file: Path | None = None
    drain: Action | None = None
    data: Path | None = None
    liveness: Probe | None = None
    silence: float | None = None  # that of the policy
    place: str = ""
    reread: Action | None = None


class Task(Resource, frozen=True, kw_only=True):
    """A command that runs once; ``then`` is performed when it ended well and is a part of it.

    ``remedies`` know what to do about errors that the command may report.
    """

    command: Command
    log: Path
    then: Action | None = None
    remedies: tuple[Remedy, ...] = ()
    stop_signal: ClassVar[int] = signal.SIGTERM


class Step(Resource, frozen=True, kw_only=True):
    """An action of the runner itself."""

    action: Action


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that must be in place before anything starts (mode 0600)."""

    path: Path
    content: str

    def __repr__(self) -> str:
        return f"File({str(self.path)!r})"  # some hold passwords


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `bandstand up` is about to do, as data."""

    resources: tuple[Resource, ...]
    files: tuple[File, ...] = ()
    notices: tuple[str, ...] = ()

    def resource(self, name: str) -> Resource:
        return next(resource for resource in self.resources if resource.name == name)

    def needed_for(self, *names: str) -> "Plan":
        """Return the part of the plan that ``names`` need in order to be ready."""
        wanted = set(names)
        for resource in reversed(self.resources):  # dependencies come first in a plan
            if resource.name in wanted:
                wanted.update(resource.after, resource.needs)
        return self.part(*wanted)

    def part(self, *names: str) -> "Plan":
        """Return the resources ``names`` alone, for somebody who knows that what they come after is there."""
        return msgspec.structs.replace(
            self, resources=tuple(resource for resource in self.resources if resource.name in names)
        )
