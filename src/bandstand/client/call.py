"""One call from its first attempt to its end: all that the sync and the async client share."""

import logging
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

from msgspec import UNSET
from prometheus_client import Histogram

from bandstand.client.balancing import Load
from bandstand.client.circuits import Admitted
from bandstand.client.fallbacks import fallback_response
from bandstand.client.messages import Headers, Request, Response
from bandstand.client.preparation import SAFE_METHODS, Order
from bandstand.client.targets import Target
from bandstand.client.transports.base import TimedOut, TransportError
from bandstand.client.verdicts import Retry, good, judge, marked, outcome_word
from bandstand.conf import get_settings, wire
from bandstand.context import current, histogram, to_lines
from bandstand.discovery import Instance, instances, is_address
from bandstand.exceptions import (
    BandstandError,
    CircuitOpen,
    DeadlineExceeded,
    DiscoveryError,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from bandstand.identity import service_token

__all__ = ["Call"]

E = TypeVar("E", bound=BandstandError)

logger = logging.getLogger("bandstand.client")

_seconds: Final = histogram(
    "bandstand_client_seconds",
    "Duration of calls to other services, with all attempts.",
    ("service", "method", "outcome"),
)


class Call:
    """The state of one call, which takes of its target what it needs and gives it back, however it ends.

    Loop: send ``attempt()``, and let ``conclude()`` say what follows from what came of it. Whatever is raised in the
    loop goes to ``abandon()``, which may have an answer to give instead.

    Raises:
        DeadlineExceeded: the time is over before anything was sent.
    """

    __slots__ = (
        "_admitted",
        "_began",
        "_chance",
        "_clock",
        "_context",
        "_deadline",
        "_ended",
        "_fallback",
        "_good",
        "_instance",
        "_known",
        "_late",
        "_load",
        "_marked",
        "_once",
        "_order",
        "_sent",
        "_time",
        "_tried",
        "target",
    )

    _instance: Instance
    _known: tuple[Instance, ...]
    _sent: float
    _time: float

    def __init__(
        self,
        order: Order,
        target: Target,
        *,
        timeout: float | None = None,
        fallback: Any = UNSET,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.target = target
        self._clock = clock
        self._order = order
        self._fallback = fallback
        self._chance = chance
        self._tried: tuple[str, ...] = ()
        self._admitted: Admitted | None = None
        self._load: Load | None = None  # while an attempt is under way
        self._good: bool | None = None
        self._late = False
        self._ended = False
        self._context = context = current()
        policy = target.policy
        # Whoever tries again already has its calls tried once only, so that a chain does not multiply.
        self._once = self._marked = context.do_not_retry and not policy.retry_marked
        self._began = now = clock()
        self._deadline = policy.deadline(now, timeout=timeout, inherited=context.deadline)
        if self._deadline <= now:
            raise self._failed(
                DeadlineExceeded(
                    f"No time is left to ask {order.service} for {order.method} {order.path}, so it was not asked."
                )
            )

    def attempt(self) -> Request:
        """Return what to send next, to an instance not tried before if there is one.

        Raises:
            CircuitOpen, TooManyCalls: the target is not to be called now.
            ServiceUnavailable: discovery knows no instance to ask.
            ServiceTimeout: the time is over.
        """
        order, target, policy = self._order, self.target, self.target.policy
        if self._admitted is None:
            try:
                self._admitted = target.admit(self._deadline - self._began)
            except ServiceUnavailable as error:
                self._marked = self._marked or error.do_not_retry
                raise self._failed(error)  # noqa: B904 - it is the same error
        self._sent = now = self._clock()
        self._time = left = self._deadline - now
        if left <= 0:
            text = f"{order.service} did not answer {order.method} {order.path} in time."
            raise self._failed(ServiceTimeout(text, service=order.service, attempts=len(self._tried)))
        try:
            self._known = known = instances(order.service)
        except DiscoveryError as error:
            text = f"{order.service} could not be asked for {order.method} {order.path}: {error}"
            unavailable = ServiceUnavailable(text, service=order.service, attempts=len(self._tried))
            raise self._failed(unavailable) from error
        self._instance = instance = target.balancer.choose(known, self._tried)
        url = instance.url
        self._load = target.balancer.begin(url, known)
        self._tried += (url,)
        return Request(
            service=order.service,
            method=order.method,
            url=url + order.target,
            headers=self._headers(url, left),
            body=order.body,
            timeout=left,
            connect_timeout=min(left, policy.connect_timeout),
            max_response_bytes=policy.max_response_bytes,
            repeatable=order.repeatable,
        )

    def conclude(self, outcome: Response | TransportError) -> Response | float:
        """Return the answer, or the number of seconds to wait before the next attempt.

        Raises:
            ServiceCallError: the call has failed; its kind says how.
        """
        now = self._clock()
        if isinstance(outcome, Response) and outcome.status < 300:  # what usually happens needs no judgement
            self._leave(good=True, seconds=now - self._sent)
            self._good = True
            self._end("2xx", now)
            return outcome
        self._learn(outcome, now)
        verdict = judge(
            outcome,
            order=self._order,
            policy=self.target.policy,
            attempts=len(self._tried),
            time_left=self._deadline - now,
            permit=self._permit,
            chance=self._chance,
        )
        if isinstance(verdict, Retry):
            self._marked = True
            return verdict.after
        if isinstance(verdict, Response):
            self._end(outcome_word(verdict), now)
            return verdict
        self._marked = self._marked or marked(outcome)
        raise self._failed(verdict, outcome) from (outcome if isinstance(outcome, TransportError) else None)

    def abandon(self, error: BaseException) -> Response | None:
        """Give back what is still taken, since ``error`` ends the call, and return the answer to give instead, if any.

        That is the fallback, which is for a service that could not be had.
        """
        if self._load is not None:
            self._leave(good=None, seconds=None)
        if not self._ended:  # it was cancelled, or a mistake of the program's
            self._good = None
            self._end(outcome_word(error), self._clock())
        if self._fallback is UNSET or not isinstance(error, ServiceUnavailable | ServiceTimeout):
            return None
        instead = fallback_response(self._fallback, error)
        self.target.count_fallback()
        return instead

    def _learn(self, outcome: Response | TransportError, now: float) -> None:
        """Take in what an outcome that is not just good says of the instance and of the service."""
        half = self.target.policy.timeout / 2
        self._late = slow = isinstance(outcome, TimedOut)
        self._good = well = good(outcome)
        # A good instance may well need more than the little time that was left to it.
        self._leave(
            good=None if slow and self._time < half else well, seconds=now - self._sent if well or slow else None
        )

    def _leave(self, *, good: bool | None, seconds: float | None) -> None:
        """End the attempt that is under way; None says nothing of the instance."""
        load, self._load = self._load, None
        assert load is not None, "there is no attempt to conclude"
        self.target.balancer.end(load, self._known, good=good, seconds=seconds)

    def _permit(self) -> bool:
        """Another attempt would make sense: may it be made? If not, nobody above should make it either."""
        elsewhere = any(instance.url not in self._tried for instance in self._known)
        if not self._once and self.target.may_retry(elsewhere=elsewhere):
            return True
        self._marked = True
        return False

    def _end(self, outcome: str, now: float) -> None:
        """Count the call as ended with that outcome, and give back what it had of its target."""
        self._ended = True
        if self._admitted is not None:
            self.target.release(self._admitted, good=self._good, late=self._late)
        _timer(self._order.service, self._order.method, outcome).observe(now - self._began)

    def _headers(self, url: str, left: float) -> Headers:
        """Made anew for each attempt: less time is left, and a trace shows each attempt as a span of its own."""
        order, context = self._order, self._context
        once = self._marked or context.do_not_retry or self.target.budget.exhausted
        lines = [*order.lines, *to_lines(context, left, once=once)]
        if is_address(url):  # which is none of the callee's allowed hosts, and its name is one
            lines.append(self.target.host)
        if not order.anonymous and get_settings().identity.service_key_file:
            # A callee may believe a token only once where something is changed.
            token = service_token(order.service, fresh=order.method not in SAFE_METHODS)
            lines.append(f"{wire.SERVICE_TOKEN}: {token}".encode())
        return Headers(lines=lines)

    def _failed(self, error: E, outcome: Response | TransportError | None = None) -> E:
        """Count and log the end of the call, once, and return the error to raise."""
        if isinstance(error, ServiceCallError):
            error.do_not_retry = self._marked
        now = self._clock()
        self._end(outcome_word(error), now)
        fields: dict[str, Any] = {
            "target": self._order.service,
            "method": self._order.method,
            "path": self._order.path,
            "outcome": outcome_word(error),
            "attempts": len(self._tried),
            "duration_ms": round((now - self._began) * 1000, 1),
        }
        if outcome is not None:
            fields["instance"] = self._instance.id
            fields["cause"] = str(outcome) if isinstance(outcome, TransportError) else None
        logger.log(_level(error), "%s", error, extra=fields)
        return error


def _level(error: BandstandError) -> int:
    if isinstance(error, CircuitOpen):
        return logging.DEBUG  # that it opened was told once
    expected = isinstance(error, ServiceResponseError) and error.status < 500
    return logging.INFO if expected else logging.WARNING


@cache
def _timer(service: str, method: str, outcome: str) -> Histogram:
    # Looking a child up by its labels costs more than observing; the labels have few values.
    return _seconds.labels(service, method, outcome)
