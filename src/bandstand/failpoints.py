"""Named places in the code where a fault test may end or pause the process. Inert unless a test asks.

``BANDSTAND_TESTING=1 BANDSTAND_FAILPOINTS="relay.after_publish=kill:3,consumer.inbox"`` kills the process with
SIGKILL at the third passage of the first and switches the second, a protection, off. ``@/a/file`` stands for what is in
that file when a process starts. Without ``BANDSTAND_TESTING`` the other variable is ignored.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bandstand.conf import wire

__all__ = ["FailPoint", "active", "hit", "parse", "switched_off"]

_ACTIONS: Final = ("off", "kill", "pause", "sleep", "fail")


class FailPoint:
    """What happens at one place: ``action`` at passage number ``at`` (each, if it is 0)."""

    def __init__(self, action: str, at: int = 0) -> None:
        self.action = action
        self.at = at


def parse(environment: Mapping[str, str]) -> dict[str, FailPoint]:
    """Return the fail-points that ``environment`` asks for: none, outside tests.

    Raises:
        ValueError: it asks for an action that there is not.
        OSError: it names a file that can't be read.
    """
    if environment.get(wire.TESTING) != "1":
        return {}
    asked = environment.get(wire.FAILPOINTS, "")
    if asked.startswith("@"):
        asked = Path(asked[1:]).read_text()
    points: dict[str, FailPoint] = {}
    for part in asked.split(","):
        name, _, action = part.strip().partition("=")
        if name:
            action, _, at = action.partition(":")
            if (action or "off") not in _ACTIONS:
                raise ValueError(f"{wire.FAILPOINTS}: {part.strip()!r} asks for none of {', '.join(_ACTIONS)}.")
            points[name] = FailPoint(action or "off", int(at or 0))
    return points


_points: Final = parse(os.environ)
_passages: Final[Counter[str]] = Counter()


def hit(name: str) -> None:
    """Do what the test wants to happen here, if it wants anything."""
    if not _points:
        return
    point = _points.get(name)
    if point is None:
        return
    _passages[name] += 1
    if point.at in {0, _passages[name]}:
        _act(point.action)


def active() -> list[str]:
    """Return the names that a test asked for."""
    return sorted(_points)


def switched_off(name: str) -> bool:
    """Say whether a test switched the protection of that name off, to see that its absence is noticed."""
    return bool(_points) and name in _points


def _act(action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "pause":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "sleep":
        time.sleep(1.0)
    elif action == "fail":
        raise RuntimeError("A fail-point asked for this.")
