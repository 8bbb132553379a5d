"""The three steps in which passwords and keys change, so that whoever uses the old or the new ones is never refused.

1. *accept*: servers and services accept the new ones too; nobody uses them yet.
2. *use*: everybody goes over to the new ones; the old ones are still accepted.
3. *retire*: the old ones are refused.

The next step begins when the one before has reached every process.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

__all__ = ["SECOND", "Rotation", "RotationStep", "arranged"]

SECOND: Final = ".b"
"""Suffix of the name of a second user: a service has two at each server, one of which is in use."""

T = TypeVar("T")


class RotationStep(StrEnum):
    """How far a change of secrets has come."""

    ACCEPT = "accept"
    USE = "use"
    RETIRE = "retire"


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A change under way: its step, and when it began (ISO 8601, UTC)."""

    step: RotationStep
    begun: str

    @classmethod
    def after(cls, earlier: "Rotation | None", step: RotationStep) -> "Rotation":
        """Return the change in ``step`` that follows on ``earlier``, or one that begins now."""
        return cls(step=step, begun=earlier.begun if earlier else datetime.now(UTC).isoformat(timespec="seconds"))


def arranged(step: RotationStep, old: T, new: T) -> tuple[T, ...]:
    """Return what is accepted in ``step``; the first is in use."""
    match step:
        case RotationStep.ACCEPT:
            return old, new
        case RotationStep.USE:
            return new, old
        case RotationStep.RETIRE:
            return (new,)
