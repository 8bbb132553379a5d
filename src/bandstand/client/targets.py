"""What this process knows of each service that it calls, in memory: shared by all calls, threads and event loops."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, get_args

from bandstand.client.balancing import Balancer
from bandstand.client.circuits import Admitted, Circuits
from bandstand.context import counter, gauge
from bandstand.exceptions import CircuitOpen, ServiceUnavailable, TooManyCalls
from bandstand.resilience import Circuit, CircuitBreaker, Limit, Mode, Outliers, Policy, Refused, RetryBudget

__all__ = ["Target", "force_circuit", "forget_targets", "target_of"]

logger = logging.getLogger("bandstand.client")

_states: Final = gauge(
    "bandstand_client_breaker_state", "State of the circuit to a service: 0 closed, 1 half open, 2 open.", ("service",)
)
_retries: Final = counter("bandstand_client_retries_total", "Attempts after the first.", ("service",))
_exhausted: Final = counter(
    "bandstand_client_budget_exhausted_total", "Retries not made, because too many were made already.", ("service",)
)
_ejected: Final = gauge("bandstand_client_ejected", "Instances that are left out now, since they failed.", ("service",))
_rejected: Final = counter(
    "bandstand_client_rejected_total", "Calls that were not tried: circuit_open, too_many_calls.", ("service", "reason")
)

_fallbacks: Final = counter(
    "bandstand_client_fallbacks_total", "Answers given in the place of a service that could not be had.", ("service",)
)


class Target:
    """The protections of calls to one service under one policy, and what calls so far have shown."""

    forgotten = False
    """Whether another one has taken the place of this one."""

    def __init__(self, service: str, policy: Policy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.service = service
        self.policy = policy
        self.host = f"Host: {service}".encode()
        self.budget = RetryBudget(share=policy.retry_budget, floor=policy.retry_floor, clock=clock)
        self.circuits = Circuits(policy, clock=clock, on_change=self._tell)
        self.limit = Limit(policy.concurrency)
        outliers = Outliers(
            failures=policy.ejection_failures,
            rest=policy.ejection_rest,
            cap=policy.ejection_cap,
            share=policy.ejection_share,
            clock=clock,
            on_eject=self._tell_ejected,
        )
        self.balancer = Balancer(outliers, clock=clock)
        self._retried = _retries.labels(service)
        self._exhausted = _exhausted.labels(service)

    @property
    def breaker(self) -> CircuitBreaker:
        """The circuit of calls that have their usual time."""
        return self.circuits.usual

    def admit(self, seconds: float) -> Admitted:
        """Admit a call that has so many seconds left and return the admission, which :meth:`release` ends.

        Raises:
            TooManyCalls: as many calls as may be are under way.
            CircuitOpen: the service failed too often just now.
        """
        if not self.limit.enter():
            text = f"{self.policy.concurrency} calls to {self.service} are under way, and no more may be."
            raise self._rejected(TooManyCalls(text, service=self.service, attempts=0))
        admitted = self.circuits.admit(seconds)
        if isinstance(admitted, Refused):
            self.limit.leave()
            text = f"{self.service} failed too often just now, so it is not called."
            error = CircuitOpen(text, service=self.service, attempts=0)
            error.retry_after, error.do_not_retry = admitted.retry_after, True
            raise self._rejected(error)
        self.budget.deposit()
        return admitted

    def release(self, admitted: Admitted, *, good: bool | None, late: bool) -> None:
        """End a call, and say whether the service did what it should; None says nothing of it.

        ``late``: it did not, in the time that the call had.
        """
        self.limit.leave()
        self.circuits.record(admitted, good, late=late)

    def count_fallback(self) -> None:
        """Count that something else was answered in the service's place."""
        _fallbacks.labels(self.service).inc()

    def _rejected(self, error: ServiceUnavailable) -> ServiceUnavailable:
        _rejected.labels(self.service, error.code).inc()
        return error

    def may_retry(self, *, elsewhere: bool) -> bool:
        """Allow one retry, and count it or that it was not allowed.

        ``elsewhere``: at an instance that the call has not asked yet. While the circuit is half open there are no other
        retries: what is likely still down gets one attempt and not three, but another instance may be well.
        """
        state = self.breaker.state
        if state is Circuit.OPEN or (state is Circuit.HALF_OPEN and not elsewhere):
            return False
        if self.budget.withdraw():
            self._retried.inc()
            return True
        self._exhausted.inc()
        return False

    def _tell_ejected(self, url: str, seconds: float) -> None:
        text = "%s is left out: %d of its answers in a row were failures. It is asked again after %g s."
        fields = {"target": self.service, "instance": url}
        logger.warning(text, url, self.policy.ejection_failures, seconds, extra=fields)

    def _tell(self, before: Circuit, after: Circuit, less_than: float | None) -> None:
        which = self.service if less_than is None else f"{self.service} with less than {less_than:g} s"
        if after is Circuit.OPEN:
            text = "The circuit to %s is open: too many calls failed. Nobody calls it for %g s."
            logger.warning(text, which, self.policy.breaker_rest, extra=self._fields(before, after))
        elif after is Circuit.CLOSED:
            logger.info("The circuit to %s is closed: it answers again.", which, extra=self._fields(before, after))

    def _fields(self, before: Circuit, after: Circuit) -> dict[str, str]:
        return {"target": self.service, "before": before.name.lower(), "after": after.name.lower()}


class _Targets:
    """Every target of this process, made at the first call to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Policy], Target] = {}
        self._forced: dict[str, Mode] = {}

    def of(self, service: str, policy: Policy) -> Target:
        target = self._known.get((service, policy))
        if target is None:
            with self._lock:
                target = self._known.setdefault((service, policy), Target(service, policy))
                if service in self._forced:
                    target.circuits.force(self._forced[service])
            # Looked at when the metrics are read: both change by time alone.
            _states.labels(service).set_function(
                lambda: max((each.circuits.state for each in self.named(service)), default=0)
            )
            _ejected.labels(service).set_function(
                lambda: max((each.balancer.outliers.count() for each in self.named(service)), default=0)
            )
        return target

    def force(self, service: str, mode: Mode) -> None:
        with self._lock:
            self._forced[service] = mode
            for target in self.named(service):
                target.circuits.force(mode)

    def forget(self) -> None:
        for target in tuple(self._known.values()):
            target.forgotten = True

    def named(self, service: str) -> Iterator[Target]:
        return (target for (name, _), target in tuple(self._known.items()) if name == service)


_targets = _Targets()


def target_of(service: str, policy: Policy) -> Target:
    """Return what this process knows of ``service`` as far as ``policy`` is concerned."""
    return _targets.of(service, policy)


def force_circuit(service: str, mode: Mode) -> None:
    """Hold the circuit to ``service`` ``open`` or ``closed`` in this process, or let it find its own state (``auto``).

    Raises:
        ValueError: ``mode`` is none of the three.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"{mode!r} is no state of a circuit; write one of {', '.join(get_args(Mode))}.")
    _targets.force(service, mode)


def forget_targets() -> None:
    """Begin anew, as a process does that has just started: for tests, and in a child after a fork.

    The locks of the parent may have been taken at the moment of the fork, by threads that the child does not have.
    """
    global _targets
    before, _targets = _targets, _Targets()
    before.forget()


os.register_at_fork(after_in_child=forget_targets)
