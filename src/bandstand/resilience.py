"""How long a call may take and how often it is tried: pure logic, with clock and chance passed in.

``Policy`` is what holds for calls to one target; every limit in it has a safe default, and attempts and time are both
capped. Times are in seconds, moments in seconds of ``time.monotonic()``.
"""

import math
import random
from collections.abc import Callable

import msgspec

from bandstand.exceptions import ConfigurationError

__all__ = ["Policy", "full_jitter"]


def full_jitter(retry: int, *, base: float, cap: float, chance: Callable[[], float] = random.random) -> float:
    """Return how many seconds to wait before retry number ``retry`` (the first is 1).

    Evenly spread between 0 and ``base`` doubled for each further retry, at most ``cap``: "full jitter", which needs
    the fewest calls for the same work when many clients fail at once (M. Brooker, "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015). ``chance`` returns a number from 0 to 1.
    """
    if retry < 1:
        raise ValueError(f"retry is {retry}; the first retry is 1.")
    # The exponent is bounded before it is used: 2.0 ** 1024 is an OverflowError.
    return chance() * min(cap, base * 2.0 ** min(retry - 1, 64))


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every call to one target. Times in seconds; ``retries`` counts the tries after the first.

    Raises:
        ConfigurationError: a limit is missing its sense; the text names all that do.
    """

    connect_timeout: float = 0.5
    timeout: float = 1.0
    retries: int = 2
    backoff_base: float = 0.025
    backoff_cap: float = 0.25
    max_response_bytes: int = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; write a number of seconds above 0."
            for name in ("connect_timeout", "timeout", "backoff_base", "backoff_cap")
            if not 0 < getattr(self, name) < math.inf  # says no to NaN as well
        ]
        if self.retries < 0:
            faults.append(f"retries is {self.retries!r}; write 0 or more.")
        if self.max_response_bytes < 1:
            faults.append(f"max_response_bytes is {self.max_response_bytes!r}; write 1 or more.")
        if faults:
            raise ConfigurationError(faults)

    def deadline(self, now: float, *, timeout: float | None = None, inherited: float | None = None) -> float:
        """Return the moment at which a call that begins ``now`` ends, whatever happens.

        ``timeout`` takes the place of the policy's own; ``inherited`` is the caller's deadline, which nothing extends.
        """
        end = now + (self.timeout if timeout is None else timeout)
        return end if inherited is None else min(end, inherited)

    def backoff(self, retry: int, chance: Callable[[], float] = random.random) -> float:
        """Return how many seconds to wait before retry number ``retry`` (the first is 1)."""
        return full_jitter(retry, base=self.backoff_base, cap=self.backoff_cap, chance=chance)
