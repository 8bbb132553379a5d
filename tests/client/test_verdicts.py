import asyncio
from typing import Any

import pytest

from bandstand.client import (
    AnswerTooLarge,
    ConnectFailed,
    ConnectionBroken,
    Headers,
    NotHttp,
    Policy,
    Response,
    TimedOut,
    TransportError,
)
from bandstand.client.preparation import Order, prepare
from bandstand.client.verdicts import Retry, Verdict, judge, outcome_word
from bandstand.exceptions import (
    CircuitOpen,
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)

POLICY = Policy(retries=2, backoff_base=0.1, backoff_cap=10)
GET = prepare("user-service", "GET", "/users/1/", {})
POST = prepare("user-service", "POST", "/users/", {"json": {}})
POST_WITH_KEY = prepare("user-service", "POST", "/users/", {"json": {}, "idempotency_key": "k"})


def answer(status: int, content: bytes = b"", **headers: str) -> Response:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response(service="user-service", status=status, headers=Headers(pairs), content=content)


def verdict(
    outcome: Response | TransportError,
    order: Order = GET,
    *,
    attempts: int = 1,
    time_left: float = 9,
    chance: float = 1,
) -> Verdict:
    return judge(outcome, order=order, policy=POLICY, attempts=attempts, time_left=time_left, chance=lambda: chance)


PASSING: list[Any] = [answer(502), answer(503), answer(504), ConnectFailed("x"), ConnectionBroken("x")]
LASTING: list[Any] = [
    answer(400),
    answer(404),
    answer(429),
    answer(500),
    answer(501),
    TimedOut("x"),
    AnswerTooLarge("x"),
    NotHttp("x"),
]


@pytest.mark.parametrize("status", [200, 201, 204, 304])
def test_a_good_answer_is_returned(status: int) -> None:
    """What is neither an error nor a redirect is the answer, at any attempt."""
    good = answer(status)
    assert verdict(good, POST, attempts=3, time_left=-1) is good


@pytest.mark.parametrize("outcome", PASSING, ids=repr)
@pytest.mark.parametrize("order", [GET, POST_WITH_KEY], ids=repr)
def test_what_may_pass_is_tried_again(outcome: Any, order: Order) -> None:
    """A failed connection, 502, 503 and 504 are followed by another attempt, after a longer wait each time."""
    assert verdict(outcome, order, attempts=1) == Retry(after=0.1)
    assert verdict(outcome, order, attempts=2) == Retry(after=0.2)


@pytest.mark.parametrize("outcome", PASSING + LASTING, ids=repr)
def test_a_write_without_a_key_is_never_tried_again(outcome: Any) -> None:
    """POST without an idempotency key is sent once, whatever happened to it."""
    assert isinstance(verdict(outcome, POST), ServiceCallError)


@pytest.mark.parametrize("outcome", LASTING, ids=repr)
def test_what_will_not_pass_is_not_tried_again(outcome: Any) -> None:
    """An answer that means no, and an attempt that took all the time, end the call."""
    assert isinstance(verdict(outcome), ServiceCallError)


@pytest.mark.parametrize("outcome", PASSING, ids=repr)
def test_attempts_are_capped(outcome: Any) -> None:
    """After the policy's retries the last outcome is the error, with the number of attempts."""
    error = verdict(outcome, attempts=3)
    assert isinstance(error, ServiceUnavailable)
    assert error.attempts == 3
    assert "3 attempts" in str(error)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    """When the wait would take what time is left, the call ends at once and not at its deadline."""
    assert verdict(answer(503), time_left=0.11) == Retry(after=0.1)
    assert isinstance(verdict(answer(503), time_left=0.1), ServiceUnavailable)


def test_the_wait_is_jittered() -> None:
    """The wait is a share of the backoff, chosen by chance."""
    assert verdict(answer(503), chance=0.25) == Retry(after=0.025)


@pytest.mark.parametrize(
    ("outcome", "kind", "http_status"),
    [
        (ConnectFailed("x"), ServiceUnavailable, 503),
        (ConnectionBroken("x"), ServiceUnavailable, 503),
        (TransportError("x"), ServiceUnavailable, 503),
        (TimedOut("x"), ServiceTimeout, 504),
        (AnswerTooLarge("x"), ServiceCallError, 502),
        (NotHttp("x"), ServiceCallError, 502),
        (answer(502), ServiceUnavailable, 503),
        (answer(503), ServiceUnavailable, 503),
        (answer(504), ServiceUnavailable, 503),
        (answer(500), ServiceResponseError, 502),
        (answer(404), ServiceResponseError, 502),
    ],
    ids=repr,
)
def test_each_failure_has_its_kind(outcome: Any, kind: type[ServiceCallError], http_status: int) -> None:
    """The kind of the error says what happened, and what the service itself answers with; the text names the call."""
    error = verdict(outcome, POST)
    assert type(error) is kind
    assert error.http_status == http_status
    assert (error.service, error.attempts) == ("user-service", 1)
    assert "user-service" in str(error)
    assert "POST /users/" in str(error)
    assert "1 attempt" in str(error)


def test_an_uncertain_write_says_so() -> None:
    """Whoever reads the error of a broken write learns that it may have been done."""
    assert "may have done the work" in str(verdict(ConnectionBroken("x"), POST))
    assert "may have" not in str(verdict(ConnectFailed("x"), POST))


def test_the_problem_goes_along() -> None:
    """Status, problem document and its code reach the caller."""
    body = b'{"code": "email_taken", "errors": [{"field": "email"}]}'
    error = verdict(answer(409, body, content_type="application/problem+json"), POST)
    assert isinstance(error, ServiceResponseError)
    assert error.status == 409
    assert error.problem["errors"] == [{"field": "email"}]
    assert "409: email_taken" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error(status: int) -> None:
    """Redirects are not followed and not mistaken for an answer; the text says where it would lead."""
    error = verdict(answer(status, location="/users/1/"))
    assert isinstance(error, ServiceResponseError)
    assert error.status == status
    assert "'/users/1/'" in str(error)


def test_texts_do_not_tell_addresses() -> None:
    """An error may end in an answer or a mail, so the address of the instance stays in the log."""
    cause = ConnectFailed("http://10.0.0.7:8000/users/1/: refused")
    assert "10.0.0.7" not in str(verdict(cause, attempts=3))


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (answer(200), "2xx"),
        (answer(304), "3xx"),
        (ServiceResponseError("", service="s", status=404), "4xx"),
        (ServiceResponseError("", service="s", status=500), "5xx"),
        (ServiceTimeout("", service="s"), "timeout"),
        (ServiceUnavailable("", service="s"), "unavailable"),
        (CircuitOpen("", service="s"), "unavailable"),
        (DeadlineExceeded(""), "deadline"),
        (ServiceCallError("", service="s"), "failed"),
        (RuntimeError("a mistake of ours"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
    ],
    ids=repr,
)
def test_outcomes_have_few_words(result: Any, word: str) -> None:
    """The metric's label takes one of nine values, whatever happens."""
    assert outcome_word(result) == word
