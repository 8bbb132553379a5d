"""How long to wait before a retry."""

import random
from collections.abc import Callable

__all__ = ["full_jitter"]


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
