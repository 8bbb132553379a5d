"""A call from plan to end, with a clock of its own and no transport at all."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bandstand.client import ConnectFailed, Headers, Policy, Response, TimedOut, TransportError
from bandstand.client.call import Call
from bandstand.client.preparation import prepare
from bandstand.client.targets import Target
from bandstand.conf import wire
from bandstand.context import REGISTRY, bind, new_context
from bandstand.discovery import MemoryRegistry, use_registry
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from bandstand.resilience import Circuit

SERVICE = "user-service"


class Clock:
    """Begins at the real time, so that deadlines of real contexts mean the same, and moves only when told."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(5000.0)
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def registry() -> Iterator[MemoryRegistry]:
    with use_registry(MemoryRegistry({SERVICE: ["http://a:1", "http://b:1"], "away": []})) as registry:
        assert isinstance(registry, MemoryRegistry)
        yield registry


@pytest.fixture
def begin(clock: Clock) -> Callable[..., Call]:
    def begin(
        method: str = "GET",
        service: str = SERVICE,
        policy: Policy | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Call:
        order = prepare(service, method, "/users/1/?secret=x", options)  # type: ignore[arg-type]
        target = Target(service, policy or Policy(), clock=clock)
        return Call(order, target, timeout=timeout, clock=clock, chance=lambda: 1.0)

    return begin


def answer(status: int = 200) -> Response:
    return Response(service=SERVICE, status=status, headers=Headers(), content=b"")


def finish(call: Call, outcome: Response | TransportError) -> float | Response:
    call.attempt()
    return call.conclude(outcome)


def send_and_end(call: Call, end: Response | BaseException) -> None:
    """Do what the clients do with what comes of sending a request."""
    try:
        if not isinstance(end, Response | TransportError):
            raise end
        call.conclude(end)
    except (ServiceCallError, KeyboardInterrupt, ZeroDivisionError) as error:
        call.abandon(error)


def in_flight(call: Call) -> list[int]:
    return [call.target.balancer.in_flight(url) for url in ("http://a:1", "http://b:1")]


def count(method: str, outcome: str, service: str = SERVICE) -> float:
    labels = {"service": service, "method": method, "outcome": outcome}
    return REGISTRY.get_sample_value("bandstand_client_seconds_count", labels) or 0.0


def test_a_call_without_time_is_not_begun(begin: Callable[..., Call], clock: Clock) -> None:
    """When the caller's deadline has passed, nothing is sent and the error says so."""
    with bind(new_context(timeout=0.5)):
        clock.now += 0.5
        with pytest.raises(DeadlineExceeded, match=r"No time is left to ask user-service for GET /users/1/"):
            begin()


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_of_nothing_is_no_time(begin: Callable[..., Call], timeout: float) -> None:
    """A computed time-out that has shrunk to nothing means no call, and never a call without limit."""
    with pytest.raises(DeadlineExceeded):
        begin(timeout=timeout)


def test_each_attempt_has_the_time_that_is_left(begin: Callable[..., Call], clock: Clock) -> None:
    """The time-out of an attempt, and what its callee is told, are what is left of the call."""
    with bind(new_context(timeout=10)):
        call = begin(policy=Policy(retries=3))
    seen = []
    for passed in (0.0, 0.4, 0.3):
        clock.now += passed
        request = call.attempt()
        times = round(request.timeout, 3), round(request.connect_timeout, 3)
        seen.append((*times, request.headers[wire.REQUEST_TIMEOUT_MS]))
        call.conclude(ConnectFailed("x"))
    assert [(timeout, connecting) for timeout, connecting, _ in seen] == [(1.0, 0.5), (0.6, 0.5), (0.3, 0.3)]
    assert [int(header) for *_, header in seen] == pytest.approx([1000, 600, 300], abs=1)


def test_the_callers_deadline_shortens_the_call(begin: Callable[..., Call]) -> None:
    """With 0.2 s left, connecting and the whole call have 0.2 s, whatever else is said."""
    with bind(new_context(timeout=0.2)):
        request = begin(timeout=5).attempt()
    assert request.timeout == pytest.approx(0.2)
    assert request.connect_timeout == pytest.approx(0.2)


def test_when_time_runs_out_between_attempts_it_is_a_timeout(begin: Callable[..., Call], clock: Clock) -> None:
    """A pause that took longer than planned ends the call with the number of attempts that were made."""
    call = begin()
    assert isinstance(finish(call, ConnectFailed("x")), float)
    clock.now += 2
    with pytest.raises(ServiceTimeout) as caught:
        call.attempt()
    assert caught.value.attempts == 1


def test_attempts_go_to_other_instances(begin: Callable[..., Call]) -> None:
    """A retry asks an instance that was not asked yet."""
    for _ in range(20):  # the first is chosen by chance
        call = begin()
        hosts = []
        for _ in range(2):
            hosts.append(call.attempt().url.partition("/users/")[0])
            call.conclude(ConnectFailed("x"))
        assert sorted(hosts) == ["http://a:1", "http://b:1"]


def test_instances_are_asked_for_anew(begin: Callable[..., Call], registry: MemoryRegistry) -> None:
    """A retry finds an instance that has come up since the call began."""
    call = begin()
    finish(call, ConnectFailed("x"))
    registry.set(SERVICE, ["http://new:1"])
    assert call.attempt().url == "http://new:1/users/1/?secret=x"


@pytest.mark.parametrize("service", ["away", "no-such-service"])
def test_without_an_instance_the_service_is_unavailable(begin: Callable[..., Call], service: str) -> None:
    """What discovery can't find is an error of the call, with discovery's reason in the text and as the cause."""
    before = count("GET", "unavailable", service)
    with pytest.raises(ServiceUnavailable, match=service) as caught:
        begin(service=service).attempt()
    assert caught.value.attempts == 0
    assert str(caught.value.__cause__) in str(caught.value)
    assert count("GET", "unavailable", service) == before + 1


def test_the_context_goes_along(begin: Callable[..., Call]) -> None:
    """Correlation id and trace are the caller's; each attempt is a span of its own."""
    context = new_context(correlation_id="corr-12345678")
    parents = set()
    with bind(context):
        call = begin()
    for _ in range(2):
        headers = call.attempt().headers
        call.conclude(ConnectFailed("x"))
        assert headers[wire.CORRELATION_ID] == "corr-12345678"
        assert headers[wire.TRACEPARENT].split("-")[1] == context.trace.trace_id
        parents.add(headers[wire.TRACEPARENT])
    assert len(parents) == 2


def test_without_a_context_all_attempts_share_one(begin: Callable[..., Call]) -> None:
    """In a shell the attempts of one call can still be found by one correlation id."""
    call = begin()
    seen = set()
    for _ in range(2):
        seen.add(call.attempt().headers[wire.CORRELATION_ID])
        call.conclude(ConnectFailed("x"))
    assert len(seen) == 1


def test_no_token_without_a_key(begin: Callable[..., Call]) -> None:
    """A service that has no key configured calls without a token, instead of failing."""
    assert wire.SERVICE_TOKEN not in begin().attempt().headers


def test_calls_in_flight_end_with_the_attempt(begin: Callable[..., Call]) -> None:
    """An instance is busy while its attempt runs, and free after an answer, an error and a cancellation."""
    for end in (answer(), ConnectFailed("x"), TimedOut("x"), KeyboardInterrupt()):
        call = begin()
        call.attempt()
        assert sum(in_flight(call)) == 1
        send_and_end(call, end)
        assert in_flight(call) == [0, 0]


@pytest.mark.parametrize(("left", "blamed"), [(0.4, 0), (0.6, 1)])
def test_no_instance_is_left_out_for_being_asked_late(
    begin: Callable[..., Call], clock: Clock, left: float, blamed: int
) -> None:
    """A time-out says nothing of an instance that was asked with less than half of the usual time left."""
    call = begin(policy=Policy(ejection_failures=1))
    clock.now += 1 - left
    with pytest.raises(ServiceTimeout):
        finish(call, TimedOut("x"))
    assert call.target.balancer.outliers.count() == blamed


@pytest.mark.parametrize(
    ("outcome", "seconds"), [(answer(), 0.25), (answer(404), 0.25), (TimedOut("x"), 0.25), (answer(503), 0)]
)
def test_a_failure_is_no_fast_answer(
    begin: Callable[..., Call], clock: Clock, outcome: Response | TransportError, seconds: float
) -> None:
    """How long an instance takes is learnt from its answers and from what it did not answer, not from refusals."""
    call = begin("POST")
    call.attempt()
    clock.now += 0.25
    send_and_end(call, outcome)
    balancer = call.target.balancer
    assert sum(balancer.load(f"http://{name}:1", clock.now) for name in "ab") == pytest.approx(seconds)


def test_a_cancelled_call_is_counted(begin: Callable[..., Call]) -> None:
    """A call whose task is cancelled appears in the metric, and the cancellation goes on."""
    before = count("GET", "cancelled")
    call = begin()
    call.attempt()
    assert call.abandon(KeyboardInterrupt()) is None
    assert count("GET", "cancelled") == before + 1


def test_a_call_that_is_cancelled_says_nothing_of_the_service(begin: Callable[..., Call]) -> None:
    """Also when an attempt had failed before: the next one might have been answered."""
    call = begin(policy=Policy(breaker_calls=1))
    assert isinstance(finish(call, answer(503)), float)
    call.abandon(KeyboardInterrupt())
    assert call.target.breaker.state is Circuit.CLOSED


def test_a_call_is_observed_once(begin: Callable[..., Call]) -> None:
    """Retries are a part of their call: one observation, with the last outcome."""
    before = {outcome: count("GET", outcome) for outcome in ("2xx", "unavailable")}
    call = begin()
    assert isinstance(finish(call, ConnectFailed("x")), float)
    assert isinstance(finish(call, answer(200)), Response)
    assert count("GET", "2xx") == before["2xx"] + 1
    assert count("GET", "unavailable") == before["unavailable"]


def test_a_failed_call_is_one_log_line(begin: Callable[..., Call], caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged once, after all attempts, with what an operator looks for and without the query."""
    call = begin()
    finish(call, ConnectFailed("http://a:1/users/1/: refused"))
    finish(call, ConnectFailed("http://a:1/users/1/: refused"))
    assert caplog.records == []
    with pytest.raises(ServiceUnavailable):
        finish(call, ConnectFailed("http://b:1/users/1/: refused"))
    (record,) = caplog.records
    fields = vars(record)
    assert record.levelno == logging.WARNING
    assert (fields["target"], fields["method"], fields["path"]) == (SERVICE, "GET", "/users/1/")
    assert (fields["attempts"], fields["outcome"]) == (3, "unavailable")
    assert fields["cause"] == "http://b:1/users/1/: refused"
    assert "secret" not in str(fields)


def test_an_expected_refusal_is_no_warning(begin: Callable[..., Call], caplog: pytest.LogCaptureFixture) -> None:
    """That something is not found is an answer; only what should not happen is a warning."""
    caplog.set_level(logging.INFO, logger="bandstand.client")
    for status in (404, 500):
        with pytest.raises(ServiceResponseError):
            finish(begin(), answer(status))
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]


def test_a_good_call_is_no_log_line(begin: Callable[..., Call], caplog: pytest.LogCaptureFixture) -> None:
    """What works makes no noise."""
    caplog.set_level(logging.DEBUG, logger="bandstand.client")
    finish(begin(), answer())
    assert caplog.records == []


def test_the_cause_of_a_failure_is_kept(begin: Callable[..., Call]) -> None:
    """A traceback shows what the transport said; an error status has no cause of its own."""
    cause = ConnectFailed("x")
    with pytest.raises(ServiceUnavailable) as caught:
        finish(begin("POST"), cause)
    assert caught.value.__cause__ is cause


def test_everything_is_given_back_however_a_call_ends(begin: Callable[..., Call]) -> None:
    """The place of a call under the limit is free again after an answer, an error, a cancellation and a mistake."""
    for outcome in (answer(), answer(404), ConnectFailed("x"), KeyboardInterrupt(), ZeroDivisionError()):
        call = begin("POST")
        call.attempt()
        assert call.target.limit.inside == 1
        send_and_end(call, outcome)
        assert call.target.limit.inside == 0


def test_a_call_that_is_cancelled_between_attempts_is_given_back(begin: Callable[..., Call]) -> None:
    """A task may end in the pause before a retry as well."""
    call = begin()
    finish(call, ConnectFailed("x"))
    call.abandon(KeyboardInterrupt())
    assert call.target.limit.inside == 0
