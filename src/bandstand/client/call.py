"""One call from its first attempt to its end: all that the sync and the async client share."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Final, TypeVar

from msgspec import UNSET
from prometheus_client import Histogram

from bandstand.client.fallbacks import fallback_response
from bandstand.client.messages import Request, Response
from bandstand.client.preparation import SAFE_METHODS, Order
from bandstand.client.targets import Target
from bandstand.client.transports.base import TimedOut, TransportError
from bandstand.client.verdicts import Retry, good, judge, marked, outcome_word
from bandstand.conf import get_settings, wire
from bandstand.context import current, histogram, to_headers
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

__all__ = ["Attempt", "Call"]

E = TypeVar("E", bound=BandstandError)

logger = logging.getLogger("bandstand.client")

_seconds: Final = histogram(
    "bandstand_client_seconds",
    "Duration of calls to other services, with all attempts.",
    ("service", "method", "outcome"),
)


class Attempt:
    """One request to one instance, as a context: inside it the transport runs, after it ``outcome`` is known."""

    __slots__ = ("_began", "_call", "_known", "good", "instance", "outcome", "request")

    def __init__(self, call: "Call", instance: Instance, known: Sequence[Instance], request: Request) -> None:
        self._call = call
        self._known = known
        self.instance = instance
        self.request = request
        self.outcome: Response | TransportError | None = None

    def __enter__(self) -> "Attempt":
        call = self._call
        call.target.balancer.begin(self.instance.url, self._known)
        self._began = call.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, TransportError):
            self.outcome = error
        call, outcome = self._call, self.outcome
        # None when the call was cancelled, or had so little time left that a good instance may well have needed more.
        slow = isinstance(outcome, TimedOut)
        late = slow and self.request.timeout < call.target.policy.timeout / 2
        self.good = None if outcome is None or late else good(outcome)
        seconds = call.clock() - self._began if self.good or slow else None
        call.target.balancer.end(self.instance.url, self._known, good=self.good, seconds=seconds)
        return error is not None and error is outcome


class Call:
    """The state of one call, as a context: what it has taken of its target is given back at the end, however it ends.

    Inside, loop: ``with call.attempt() as attempt`` send it, then ask ``call.conclude(attempt)``. Behind it, which is
    only reached when the service could not be had and there is a fallback, is ``call.instead``.

    Raises:
        DeadlineExceeded: the time is over before anything was sent.
    """

    __slots__ = (
        "_admitted",
        "_began",
        "_chance",
        "_context",
        "_deadline",
        "_ended",
        "_fair",
        "_fallback",
        "_good",
        "_marked",
        "_once",
        "_order",
        "_tried",
        "clock",
        "instead",
        "target",
    )

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
        self.clock = clock
        self._order = order
        self._fallback = fallback
        self._chance = chance
        policy = target.policy
        self._began = clock()
        self._tried: list[str] = []
        self._admitted: int | None = None
        self._good: bool | None = None
        self._ended = False
        self.instead: Response
        context = current()
        deadline = policy.deadline(self._began, timeout=timeout, inherited=context.deadline)
        self._deadline = deadline
        # A time-out of a call that had little time from the start says nothing of the callee.
        self._fair = deadline - self._began >= policy.timeout / 2
        self._context = context
        # Whoever tries again already has its calls tried once only, so that a chain does not multiply.
        self._once = context.do_not_retry and not policy.retry_marked
        self._marked = self._once
        if deadline <= self._began:
            raise self._failed(
                DeadlineExceeded(
                    f"No time is left to ask {order.service} for {order.method} {order.path}, so it was not asked."
                )
            )

    def attempt(self) -> Attempt:
        """Return the next attempt, at an instance not tried before if there is one.

        Raises:
            CircuitOpen, TooManyCalls: the target is not to be called now.
            ServiceUnavailable: discovery knows no instance to ask.
            ServiceTimeout: the time is over.
        """
        order, policy = self._order, self.target.policy
        if self._admitted is None:
            self._admit()
        left = self._deadline - self.clock()
        if left <= 0:
            text = f"{order.service} did not answer {order.method} {order.path} in time."
            raise self._failed(ServiceTimeout(text, service=order.service, attempts=len(self._tried)))
        known = self._known()
        instance = self.target.balancer.choose(known, self._tried)
        self._tried.append(instance.url)
        request = Request(
            service=order.service,
            method=order.method,
            url=instance.url + order.target,
            headers=self._headers(instance.url, left),
            body=order.body,
            timeout=left,
            connect_timeout=min(left, policy.connect_timeout),
            max_response_bytes=policy.max_response_bytes,
            repeatable=order.repeatable,
        )
        return Attempt(self, instance, known, request)

    def conclude(self, attempt: Attempt) -> Response | float:
        """Return the answer, or the number of seconds to wait before the next attempt.

        Raises:
            ServiceCallError: the call has failed; its kind says how.
        """
        outcome = attempt.outcome
        assert outcome is not None, "the attempt was not made"
        if isinstance(outcome, Response) and outcome.status < 300:  # what usually happens needs no judgement
            self._good = True
            self._end(outcome)
            return outcome
        self._good = good(outcome) or (None if isinstance(outcome, TimedOut) and not self._fair else False)
        verdict = judge(
            outcome,
            order=self._order,
            policy=self.target.policy,
            attempts=len(self._tried),
            time_left=self._deadline - self.clock(),
            permit=self._permit,
            chance=self._chance,
        )
        if isinstance(verdict, Retry):
            self._marked = True
            return verdict.after
        if isinstance(verdict, Response):
            self._end(verdict)
            return verdict
        self._marked = self._marked or marked(outcome)
        raise self._failed(verdict, attempt) from (outcome if isinstance(outcome, TransportError) else None)

    def __enter__(self) -> "Call":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if not self._ended:  # it was cancelled, or a mistake of the program's
            self._good = None
            self._end(error)
        if self._fallback is UNSET or not isinstance(error, ServiceUnavailable | ServiceTimeout):
            return False
        self.instead = fallback_response(self._fallback, error)
        self.target.count_fallback()
        return True

    def _admit(self) -> None:
        try:
            self._admitted = self.target.admit()
        except ServiceUnavailable as error:
            self._marked = self._marked or error.do_not_retry
            raise self._failed(error)  # noqa: B904 - it is the same error

    def _permit(self) -> bool:
        """Another attempt would make sense: may it be made? If not, nobody above should make it either."""
        if not self._once and self.target.may_retry():
            return True
        self._marked = True
        return False

    def _end(self, result: Response | BaseException) -> None:
        """Count the call as ended with ``result``, and give back what it had of its target."""
        self._ended = True
        if self._admitted is not None:
            self.target.release(self._admitted, good=self._good)
        timer = _timer(self._order.service, self._order.method, outcome_word(result))
        timer.observe(self.clock() - self._began)

    def _known(self) -> tuple[Instance, ...]:
        order = self._order
        try:
            return instances(order.service)
        except DiscoveryError as error:
            text = f"{order.service} could not be asked for {order.method} {order.path}: {error}"
            unavailable = ServiceUnavailable(text, service=order.service, attempts=len(self._tried))
            raise self._failed(unavailable) from error

    def _headers(self, url: str, left: float) -> dict[str, str]:
        """Made anew for each attempt: less time is left, and a trace shows each attempt as a span of its own."""
        order = self._order
        headers = {**order.headers, **to_headers(self._context, remaining=left)}
        if is_address(url):  # which is none of the callee's allowed hosts, and its name is one
            headers["Host"] = order.service
        if self._marked or self.target.budget.exhausted:
            headers[wire.DO_NOT_RETRY] = "1"
        if not order.anonymous and get_settings().identity.service_key_file:
            # A callee may believe a token only once where something is changed.
            headers[wire.SERVICE_TOKEN] = service_token(order.service, fresh=order.method not in SAFE_METHODS)
        return headers

    def _failed(self, error: E, attempt: Attempt | None = None) -> E:
        """Count and log the end of the call, once, and return the error to raise."""
        if isinstance(error, ServiceCallError):
            error.do_not_retry = self._marked
        self._end(error)
        fields: dict[str, Any] = {
            "target": self._order.service,
            "method": self._order.method,
            "path": self._order.path,
            "outcome": outcome_word(error),
            "attempts": len(self._tried),
            "duration_ms": round((self.clock() - self._began) * 1000, 1),
        }
        if attempt is not None:
            fields["instance"] = attempt.instance.id
            fields["cause"] = str(attempt.outcome) if isinstance(attempt.outcome, TransportError) else None
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
