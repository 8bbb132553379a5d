"""What keeps one slow or broken service from taking others with it: pure logic, with clock and chance passed in.

- ``Policy``: what holds for calls to one target; every limit has a safe default, and attempts and time are capped.
- ``full_jitter``: how long to wait before a retry.
- ``RetryBudget``: how many retries there may be, as a share of calls.
- ``CircuitBreaker``, with its states (``Circuit``, ``Mode`` when forced): no calls for a while to what fails too often.
- ``Limit``: how many calls at once (a bulkhead).
- ``Outliers``: which instances are left out, since they fail while others work.
- ``PeakEwma``: how long an instance takes lately.

Nothing here knows HTTP, Django or a network. All of it may be used by many threads at once. Times are in seconds,
moments in seconds of ``time.monotonic()``.
"""

from bandstand.resilience.backoff import full_jitter
from bandstand.resilience.breaker import Circuit, CircuitBreaker, Mode, Refused
from bandstand.resilience.budget import RetryBudget
from bandstand.resilience.ewma import PeakEwma
from bandstand.resilience.limit import Limit
from bandstand.resilience.outliers import Outliers
from bandstand.resilience.policy import Policy

__all__ = [
    "Circuit",
    "CircuitBreaker",
    "Limit",
    "Mode",
    "Outliers",
    "PeakEwma",
    "Policy",
    "Refused",
    "RetryBudget",
    "full_jitter",
]
