"""What this process knows of each service that it calls, in memory: shared by all calls, threads and event loops."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from bandstand.context import counter, gauge
from bandstand.resilience import Circuit, CircuitBreaker, Policy, Refused, RetryBudget

__all__ = ["Target", "forget_targets", "target_of"]

logger = logging.getLogger("bandstand.client")

_states: Final = gauge(
    "bandstand_client_breaker_state", "State of the circuit to a service: 0 closed, 1 half open, 2 open.", ("service",)
)
_retries: Final = counter("bandstand_client_retries_total", "Attempts after the first.", ("service",))
_exhausted: Final = counter(
    "bandstand_client_budget_exhausted_total", "Retries not made, because too many were made already.", ("service",)
)
_rejected: Final = counter(
    "bandstand_client_rejected_total", "Calls that were not tried: circuit_open, too_many_calls.", ("service", "reason")
)


class Target:
    """The protections of calls to one service under one policy."""

    def __init__(self, service: str, policy: Policy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.service = service
        self.policy = policy
        self.budget = RetryBudget(share=policy.retry_budget, floor=policy.retry_floor, clock=clock)
        self.breaker = CircuitBreaker(
            ratio=policy.breaker_ratio,
            calls=policy.breaker_calls,
            window=policy.breaker_window,
            rest=policy.breaker_rest,
            mode=policy.breaker,
            clock=clock,
            on_change=self._tell,
        )
        self._retried = _retries.labels(service)
        self._exhausted = _exhausted.labels(service)

    def admit(self) -> int | Refused:
        """Let a call begin, or say that it is refused; the number is for ``breaker.record``."""
        admitted = self.breaker.admit()
        if isinstance(admitted, Refused):
            _rejected.labels(self.service, "circuit_open").inc()
        else:
            self.budget.deposit()
        return admitted

    def may_retry(self) -> bool:
        """Allow one retry, and count it or that it was not allowed."""
        if self.breaker.state is Circuit.OPEN:
            return False
        if self.budget.withdraw():
            self._retried.inc()
            return True
        self._exhausted.inc()
        return False

    def _tell(self, before: Circuit, after: Circuit) -> None:
        if after is Circuit.OPEN:
            text = "The circuit to %s is open: too many calls failed. Nobody calls it for %g s."
            logger.warning(text, self.service, self.policy.breaker_rest, extra=self._fields(before, after))
        elif after is Circuit.CLOSED:
            logger.info(
                "The circuit to %s is closed: it answers again.", self.service, extra=self._fields(before, after)
            )

    def _fields(self, before: Circuit, after: Circuit) -> dict[str, str]:
        return {"target": self.service, "before": before.name.lower(), "after": after.name.lower()}


class _Targets:
    """Every target of this process, made at the first call to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Policy], Target] = {}

    def of(self, service: str, policy: Policy) -> Target:
        target = self._known.get((service, policy))
        if target is None:
            with self._lock:
                target = self._known.setdefault((service, policy), Target(service, policy))
            _states.labels(service).set_function(
                lambda: max((each.breaker.state for each in self.named(service)), default=0)
            )
        return target

    def named(self, service: str) -> Iterator[Target]:
        return (target for (name, _), target in tuple(self._known.items()) if name == service)


_targets = _Targets()


def target_of(service: str, policy: Policy) -> Target:
    """Return what this process knows of ``service`` as far as ``policy`` is concerned."""
    return _targets.of(service, policy)


def forget_targets() -> None:
    """Begin anew, as a process does that has just started: for tests, and in a child after a fork.

    The locks of the parent may have been taken at the moment of the fork, by threads that the child does not have.
    """
    global _targets  # noqa: PLW0603 - one assignment, which needs no lock
    _targets = _Targets()


os.register_at_fork(after_in_child=forget_targets)
