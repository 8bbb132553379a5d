"""Which problem an exception is. One table, for views and for middleware; an exception's own text never goes out.

What is not in the table is a fault of the program: it stays an exception, so that Django logs it with its stack,
tests see it, and the client gets a 500 that says nothing.
"""

import logging
from typing import Any, Final

import msgspec
from django.core import exceptions as django
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework.exceptions import APIException

from bandstand import exceptions as ours
from bandstand.api.problems import FieldFault, Problem, generic_problem

__all__ = ["problem_for", "problem_of"]

_log: Final = logging.getLogger("bandstand.api")

_BUSY: Final = 1.0  # seconds: a database that restarts, or a peer that another instance replaces, is back about then
_CIRCUIT_OPEN: Final = 5.0  # seconds that a circuit stays open

_BUSY_DETAIL: Final = "{} can't be reached now. Try again soon."


def _problem(status: int, code: str, detail: str, retry_after: float | None = None) -> Problem:
    return Problem(status=status, code=code, detail=detail, retry_after=retry_after)


_DATABASE_DOWN: Final = _problem(503, "database_unavailable", _BUSY_DETAIL.format("The database"), _BUSY)
_PEER: Final = "A service that this one needs"
_PEER_DOWN: Final = _problem(503, "service_unavailable", _BUSY_DETAIL.format(_PEER), _BUSY)

# The first class that fits counts, so the narrow ones stand first.
_TABLE: Final[tuple[tuple[type[BaseException], Problem], ...]] = (
    (Http404, generic_problem(404)),
    (django.PermissionDenied, generic_problem(403)),
    (django.RequestDataTooBig, generic_problem(413)),
    (django.DisallowedHost, _problem(400, "disallowed_host", "This service does not answer to that host name.")),
    (django.SuspiciousOperation, generic_problem(400)),
    (django.BadRequest, generic_problem(400)),
    (UnreadablePostError, _problem(400, "body_unreadable", "The connection ended before the whole body arrived.")),
    (IntegrityError, _problem(409, "conflict", "This contradicts what is already stored.")),
    (DataError, _problem(400, "value_out_of_range", "A value is too large, too long or of the wrong form.")),
    (OperationalError, _DATABASE_DOWN),
    (InterfaceError, _DATABASE_DOWN),
    (ours.Overloaded, _problem(503, "overloaded", "Too many requests of this kind are under way.", _BUSY)),
    (ours.DeadlineExceeded, _problem(504, "deadline_exceeded", "The time given for this request is over.")),
    (ours.CircuitOpen, _problem(503, "circuit_open", _PEER_DOWN.detail, _CIRCUIT_OPEN)),
    (
        ours.TooManyCalls,
        _problem(503, "too_many_calls", f"Too many requests wait for {_PEER[:1].lower()}{_PEER[1:]}.", _BUSY),
    ),
    (ours.ServiceUnavailable, _PEER_DOWN),
    (ours.ServiceTimeout, _problem(504, "service_timeout", f"{_PEER} did not answer in time.")),
    (ours.ServiceCallError, _problem(502, "service_response_error", f"{_PEER} gave an answer that can't be used.")),
    (ours.DiscoveryError, _PEER_DOWN),
    (ours.KeySetUnavailable, _problem(503, "key_set_unavailable", _BUSY_DETAIL.format("The key set"), _BUSY)),
    (ours.InvalidToken, _problem(401, "invalid_token", "The token was refused.")),
    (ours.CallerNotAllowed, _problem(403, "caller_not_allowed", "This service does not take calls from that one.")),
    (ours.BrokerUnavailable, _problem(503, "broker_unavailable", _BUSY_DETAIL.format("The message broker"), _BUSY)),
)


def problem_of(error: BaseException) -> Problem | None:
    """Return the problem that ``error`` is for the client, or None when it is a fault of the program."""
    if isinstance(error, DjangoValidationError):
        return _of_validation(error)
    for kind, problem in _TABLE:
        if isinstance(error, kind):
            if problem.status >= 500 or isinstance(error, DatabaseError):
                _tell(error, problem)
            return _with_advice(problem, error) if isinstance(error, ours.ServiceCallError) else problem
    return None


def problem_for(kind: type[BaseException]) -> Problem | None:
    """Return the problem for errors of class ``kind``, as far as the class determines it."""
    if issubclass(kind, APIException):
        return _problem(kind.status_code, str(kind.default_code), str(kind.default_detail))
    return next((problem for known, problem in _TABLE if issubclass(kind, known)), None)


def _with_advice(problem: Problem, error: ours.ServiceCallError) -> Problem:
    """Tell the caller whether and when trying again makes sense, as far as the failed call has found out."""
    return msgspec.structs.replace(
        problem, do_not_retry=error.do_not_retry, retry_after=error.retry_after or problem.retry_after
    )


def _of_validation(error: DjangoValidationError) -> Problem:
    return Problem(
        status=400,
        code="validation_failed",
        detail="The request holds values that are not valid.",
        errors=_faults(error),
    )


def _faults(error: DjangoValidationError) -> tuple[FieldFault, ...]:
    by_field: dict[str, Any] = getattr(error, "error_dict", None) or {"": error.error_list}
    return tuple(
        FieldFault(
            field="" if field == django.NON_FIELD_ERRORS else field,
            message=" ".join(single.messages),
            code=single.code or "invalid",
        )
        for field, singles in by_field.items()
        for single in singles
    )


def _tell(error: BaseException, problem: Problem) -> None:
    """One line without a stack: the cause lies outside the program."""
    state = getattr(error.__cause__, "sqlstate", None)
    _log.warning("%s: %s", type(error).__name__, error, extra={"code": problem.code, "sqlstate": state})
