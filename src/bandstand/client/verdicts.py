"""What the outcome of an attempt means: the answer, another attempt, or an error. Pure."""

import random
from collections.abc import Callable
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
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from bandstand.resilience import Policy

__all__ = ["Retry", "Verdict", "judge", "outcome_word"]

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
    chance: Callable[[], float] = random.random,
) -> Verdict:
    """Return what follows from the ``outcome`` of attempt number ``attempts``, with ``time_left`` seconds to go.

    A request that is not repeatable is never tried again, not even when the connection failed: one rule that can be
    relied on. An attempt that timed out is not repeated either, since its time is the time of the whole call.
    """
    if isinstance(outcome, Response) and outcome.status < 400 and outcome.status not in _REDIRECTS:
        return outcome
    if order.repeatable and attempts <= policy.retries and _may_pass(outcome):
        after = policy.backoff(attempts, chance)
        if after < time_left:
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


def _may_pass(outcome: Response | TransportError) -> bool:
    """Say whether another instance, or the same one a moment later, may do better."""
    if isinstance(outcome, Response):
        return outcome.status in _AWAY
    return isinstance(outcome, ConnectFailed | ConnectionBroken)


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
