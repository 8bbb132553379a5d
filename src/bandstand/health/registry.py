"""Which checks there are."""

from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec

__all__ = ["Check", "CheckFunction", "OutOfDate", "register", "registered", "unregister"]

CheckFunction = Callable[[], None]


class OutOfDate(Exception):
    """A failure that work goes on with: with what was known ``age`` seconds ago, which ``/health/`` tells."""

    def __init__(self, text: str, *, age: float) -> None:
        super().__init__(text)
        self.age = age


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A question that ``function`` answers by returning (well) or raising (not). ``ready``: no traffic without it."""

    name: str
    function: CheckFunction
    ready: bool = True


_checks: Final[dict[str, Check]] = {}
_lock: Final = Lock()


def register(name: str, check: CheckFunction, *, ready: bool = True) -> None:
    """Ask ``check`` whenever health is asked for; an earlier check of that name is replaced.

    ``check`` takes nothing and raises when something is wrong; what it raises goes to the log, never into an answer.
    It runs on a thread of its own and counts as failing after ``BANDSTAND["HEALTH"]["TIMEOUT"]`` seconds. With
    ``ready=False`` a failure makes the service degraded, but it goes on receiving requests: for needs that it can do
    without for a while. Never check another service, or one that is down takes all others with it.
    """
    with _lock:
        _checks[name] = Check(name=name, function=check, ready=ready)


def unregister(name: str) -> None:
    """Forget the check of that name, if there is one."""
    with _lock:
        _checks.pop(name, None)


def registered() -> tuple[Check, ...]:
    """Return all checks, in the order in which they were registered."""
    with _lock:
        return tuple(_checks.values())
