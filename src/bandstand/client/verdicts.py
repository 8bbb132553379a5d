"""What the outcome of an attempt means: the answer, another attempt, or an error. Pure."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from bandstand.client.messages import Response
from bandstand.client.preparation import Order
from bandstand.client.transports.base import (
    AnswerTooLarge,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    TransportError,
)
from bandstand.conf import wire
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from bandstand.resilience import Policy

__all__ = ["Retry", "Verdict", "good", "judge", "marked", "outcome_word"]

_AWAY: Final = frozenset({502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Try again ``after`` so many seconds."""

    after: float


Verdict = Response | Retry | ServiceCallError


def judge(
    outcome: Response | TransportError,
    *,
    order: Order,
    policy: Policy,
    attempts: int,
    time_left: float,
    permit: Callable[[], bool] = lambda: True,
    chance: Callable[[], float] = random.random,
) -> Verdict:
    """Return what follows from the ``outcome`` of attempt number ``attempts``, with ``time_left`` seconds to go.

    A request that is not repeatable is never tried again, not even when the connection failed: one rule that can be
    relied on. An attempt that timed out is not repeated either, since its time is the time of the whole call.
    ``permit`` is asked last, when there is nothing else against another attempt.
    """
    if isinstance(outcome, Response) and outcome.status < 400 and outcome.status not in _REDIRECTS:
        return outcome
    if order.repeatable and attempts <= policy.retries and (policy.retry_marked or not marked(outcome)):
        wait = _wait(outcome)
        if wait is not None:
            after = max(wait, policy.backoff(attempts, chance))
            if after < time_left and permit():
                return Retry(after=after)
    return _refused(outcome, order, attempts) if isinstance(outcome, Response) else _lost(outcome, order, attempts)


def outcome_word(result: Response | BaseException) -> str:
    """Return the ``outcome`` label of the client's metric."""
    match result:
        case Response() | ServiceResponseError():
            return f"{result.status // 100}xx"
        case ServiceTimeout():
            return "timeout"
        case ServiceUnavailable():
            return "unavailable"
        case DeadlineExceeded():
            return "deadline"
        case Exception():
            return "failed"
        case _:  # the task was cancelled, or the program is to end
            return "cancelled"


def good(outcome: Response | TransportError) -> bool:
    """Say whether the outcome shows a service that works.

    A 500 does: it tells of a fault in the code of one route, and to shut out the whole service for that would make of
    one bug an outage of everything. Whoever refuses (4xx) or says more than was wanted works, too.
    """
    if isinstance(outcome, Response):
        return outcome.status not in _AWAY
    return isinstance(outcome, AnswerTooLarge)


def marked(outcome: Response | TransportError) -> bool:
    """Say whether the answer tells that trying again was tried in vain already, further down."""
    return isinstance(outcome, Response) and outcome.headers.get(wire.DO_NOT_RETRY) == "1"


def _wait(outcome: Response | TransportError) -> float | None:
    """Return the least number of seconds after which another attempt may do better, or None when none may.

    The ``Retry-After`` of a 503 is not waited for, since another instance may be well.
    """
    if not isinstance(outcome, Response):
        return 0.0 if isinstance(outcome, ConnectFailed | ConnectionBroken) else None
    if outcome.status == 429:
        return _retry_after(outcome.headers.get("retry-after", ""))
    return 0.0 if outcome.status in _AWAY else None


def _retry_after(text: str) -> float | None:
    """Read ``Retry-After`` (RFC 9110, section 10.2.3): a number of seconds or a date."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": the same moment, of a place that is not told
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _refused(answer: Response, order: Order, attempts: int) -> ServiceCallError:
    what = f"{order.service} answered {order.method} {order.path} with {answer.status}"
    tries = _tries(attempts)
    if answer.status in _AWAY:
        return ServiceUnavailable(f"{what} ({tries}).", service=order.service, attempts=attempts)
    detail: Any = ""
    problem: dict[str, object] = {}
    if answer.status in _REDIRECTS:
        location = answer.headers.get("location", "nowhere")
        detail = f": redirects are never followed; if {location!r} is the right path, ask for it"
    else:
        problem = answer.problem()
        code = problem.get("code")
        detail = f": {code}" if isinstance(code, str) else ""
    return ServiceResponseError(
        f"{what}{detail} ({tries}).",
        service=order.service,
        status=answer.status,
        problem=problem,
        attempts=attempts,
    )


def _lost(error: TransportError, order: Order, attempts: int) -> ServiceCallError:
    what = f"{order.method} {order.path} ({_tries(attempts)})"
    service = order.service
    match error:
        case TimedOut():
            return ServiceTimeout(f"{service} did not answer {what} in time.", service=service, attempts=attempts)
        case ConnectFailed():
            text = f"{service} could not be reached for {what}. Is it running?"
        case ConnectionBroken():
            text = f"{service} broke the connection before it had answered {what}; it may have done the work or not."
        case AnswerTooLarge():
            text = f"{service} answered {what} with more bytes than CLIENT.MAX_RESPONSE_BYTES allows."
            return ServiceCallError(text, service=service, attempts=attempts)
        case NotHttp():
            text = f"What stands at the address of {service} does not speak HTTP: {what}."
            return ServiceCallError(text, service=service, attempts=attempts)
        case _:
            text = f"{service} could not be called: {what}."
    return ServiceUnavailable(text, service=service, attempts=attempts)


def _tries(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
