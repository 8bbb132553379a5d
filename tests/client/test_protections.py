"""What protects a caller from its callee and the callee from its callers, seen through both clients."""

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from pytest_django import Settings

from bandstand.api.translation import problem_of
from bandstand.client import (
    AsyncTransport,
    ConnectionBroken,
    Headers,
    Policy,
    Request,
    Response,
    ServiceClient,
    Transport,
    force_circuit,
    use_transport,
)
from bandstand.conf import wire
from bandstand.context import REGISTRY, bind, from_headers, new_context
from bandstand.discovery import MemoryRegistry, use_registry
from bandstand.exceptions import (
    CircuitOpen,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
    TooManyCalls,
)
from bandstand.testing.services import fake_services

from .conftest import Call

SERVICE = "user-service"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"service": SERVICE, **labels}) or 0.0


def client_settings(settings: Settings, **keys: Any) -> None:
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": keys}


def fail(call: Call, times: int, **options: Any) -> list[ServiceCallError]:
    """Make calls that all fail, and return their errors."""
    errors = []
    for _ in range(times):
        with pytest.raises(ServiceCallError) as caught:
            call(SERVICE, "GET", "/x/", **options)
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize(("mode", "seen"), [("auto", 20), ("closed", 50)])
def test_a_service_that_fails_is_left_alone(call: Call, settings: Settings, mode: str, seen: int) -> None:
    """After 20 failed calls nothing is sent any more, and the error says when to come again; unless it is forced."""
    client_settings(settings, RETRIES=0, BREAKER=mode)
    before = sample("bandstand_client_rejected_total", reason="circuit_open")
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=503)
        last = fail(call, 50)[-1]
        assert len(fake.calls) == seen
        assert sample("bandstand_client_breaker_state") == (2 if mode == "auto" else 0)
    assert sample("bandstand_client_rejected_total", reason="circuit_open") - before == 50 - seen
    if mode == "auto":
        assert isinstance(last, CircuitOpen)
        assert (last.attempts, last.do_not_retry) == (0, True)
        assert last.retry_after == pytest.approx(5, abs=2)


@pytest.mark.parametrize(("instances", "seen"), [(1, 1), (2, 2), (9, 3)])
def test_a_probe_asks_no_instance_twice(call: Call, settings: Settings, instances: int, seen: int) -> None:
    """What is likely still down gets one attempt; where there are others, one of them may be well."""
    client_settings(settings, BREAKER_REST=0.001, RETRY_FLOOR=1000)
    urls = [f"http://{number}:1" for number in range(instances)]
    with fake_services() as fake, use_registry(MemoryRegistry({SERVICE: urls})):
        fake.on(SERVICE, "GET", "/x/", status=503)
        fail(call, 20)
        assert sample("bandstand_client_breaker_state") == 2
        probed: Any = []
        while not probed:
            before = len(fake.calls)
            fail(call, 1)
            probed = fake.calls[before:]
    assert len(probed) == seen


def test_forced_open_nothing_is_sent(call: Call, settings: Settings) -> None:
    """An operator can take a service away from this one."""
    client_settings(settings, TARGETS={SERVICE: {"BREAKER": "open"}})
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json={})
        fake.on("order-service", "GET", "/x/", json={})
        with pytest.raises(CircuitOpen):
            call(SERVICE, "GET", "/x/")
        assert call("order-service", "GET", "/x/").status == 200
    assert len(fake.calls) == 1


def test_a_circuit_can_be_forced_while_the_process_runs(call: Call) -> None:
    """What is forced holds for targets known before and for those made later, until it is taken back."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json={})
        force_circuit(SERVICE, "open")
        fail(call, 1)
        with pytest.raises(CircuitOpen):
            ServiceClient(SERVICE, policy=Policy(timeout=9)).get("/x/")
        assert sample("bandstand_client_breaker_state") == 2
        force_circuit(SERVICE, "auto")
        assert call(SERVICE, "GET", "/x/").status == 200
    assert len(fake.calls) == 1
    with pytest.raises(ValueError, match="ajar"):
        force_circuit(SERVICE, "ajar")  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500])
def test_what_shows_a_service_that_works_does_not_open_the_circuit(call: Call, status: int) -> None:
    """Refusals, and the bug of one route, leave all other routes of the service reachable."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=status)
        fake.on(SERVICE, "GET", "/y/", json={})
        fail(call, 50)
        assert call(SERVICE, "GET", "/y/").status == 200


@pytest.mark.parametrize(("given", "opens"), [(0.4, False), (0.6, True)])
def test_a_late_caller_does_not_open_the_circuit_of_others(call: Call, given: float, opens: bool) -> None:
    """A time-out says nothing to those with the usual time when its caller had less than half of that left."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", raises=ServiceTimeout)
        for _ in range(30):
            with bind(new_context(timeout=given)), pytest.raises(ServiceCallError):
                call(SERVICE, "GET", "/x/")
        before = len(fake.calls)
        fail(call, 1)
        assert (len(fake.calls) == before) is opens


@pytest.mark.parametrize(("mode", "seen"), [("auto", 20), ("closed", 50)])
def test_a_service_that_hangs_is_left_alone_by_hasty_callers(
    call: Call, settings: Settings, mode: str, seen: int
) -> None:
    """Though none of them ever gives it half of the usual time; unless the circuit is forced."""
    client_settings(settings, BREAKER=mode)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", raises=ServiceTimeout)
        last = fail(call, 50, timeout=0.1)[-1]
        assert len(fake.calls) == seen
        assert isinstance(last, CircuitOpen) is (mode == "auto")
        assert sample("bandstand_client_breaker_state") == (2 if mode == "auto" else 0)


def test_one_broken_instance_of_two_does_not_open_the_circuit(call: Call) -> None:
    """What counts is the call after its retries: a service that can serve is not shut out."""
    with fake_services() as fake:
        rule = fake.on(SERVICE, "GET", "/x/", status=503)
        for _ in range(100):
            rule.then(json={}).then(status=503)
        for _ in range(25):
            assert call(SERVICE, "GET", "/x/").status == 200


def test_refused_calls_take_no_place(call: Call, settings: Settings) -> None:
    """However many calls an open circuit refuses, there is room for the one that finds the service well again."""
    client_settings(settings, CONCURRENCY=2, RETRIES=0)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json={})
        force_circuit(SERVICE, "open")
        assert {error.code for error in fail(call, 5)} == {"circuit_open"}
        force_circuit(SERVICE, "auto")
        assert call(SERVICE, "GET", "/x/").status == 200


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # what the child does is safe
def test_a_forked_child_begins_anew(settings: Settings) -> None:
    """What the parent learnt is not the child's, nor a lock that another thread held at the moment of the fork."""
    client = ServiceClient(SERVICE)
    with fake_services() as fake:
        fake.on(SERVICE, "POST", "/x/", status=503)
        fail(lambda _service, _method, path: client.post(path), 20)
        with pytest.raises(CircuitOpen):
            client.post("/x/")
        lock = client._target().breaker._lock
        with lock:
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # who waits for that lock waits for ever
                status = 1
                try:
                    with pytest.raises(ServiceUnavailable) as caught:
                        client.post("/x/")
                    status = int(isinstance(caught.value, CircuitOpen))
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_circuit_that_opens_is_a_warning(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """Operators read once that a service is left alone, and not at each call."""
    with fake_services() as fake:
        fake.on(SERVICE, "POST", "/x/", status=503)
        for _ in range(40):
            with pytest.raises(ServiceUnavailable):
                call(SERVICE, "POST", "/x/")
    told = [record for record in caplog.records if "circuit to" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert (vars(told[0])["target"], vars(told[0])["after"]) == (SERVICE, "open")


@pytest.mark.parametrize(("share", "floor", "seen"), [(0.2, 0, 120), (1.0, 10_000, 300)])
def test_retries_have_a_budget(call: Call, settings: Settings, share: float, floor: float, seen: int) -> None:
    """A hundred calls that fail are not tried three times each; with the budget off (the tooth) they are."""
    client_settings(settings, BREAKER="closed", RETRY_BUDGET=share, RETRY_FLOOR=floor)
    names = ("bandstand_client_retries_total", "bandstand_client_budget_exhausted_total")
    before = [sample(name) for name in names]
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=503)
        errors = fail(call, 100)
        sent = fake.calls
    retried, exhausted = (sample(name) - old for name, old in zip(names, before, strict=True))
    assert len(sent) == pytest.approx(seen, abs=1)  # a fifth is no binary fraction
    assert retried == len(sent) - 100
    assert (exhausted > 0) is (share < 1)
    assert all(error.do_not_retry for error in errors)


def test_without_budget_the_callee_is_told_not_to_retry_either(call: Call, settings: Settings) -> None:
    """When a service can't afford retries, those below it must not make them for it."""
    client_settings(settings, RETRY_BUDGET=0.0, RETRY_FLOOR=0)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json={})
        call(SERVICE, "GET", "/x/")
    assert fake.calls[0].headers[wire.DO_NOT_RETRY] == "1"


def test_a_second_attempt_says_so(call: Call) -> None:
    """The callee of a retry learns that it is one; the callee of a first attempt may try again by itself."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=503).then(json={})
        call(SERVICE, "GET", "/x/")
    assert [made.headers.get(wire.DO_NOT_RETRY) for made in fake.calls] == [None, "1"]


@pytest.mark.parametrize(("heeded", "seen"), [(True, 1), (False, 3)])
def test_work_for_a_retry_is_tried_once(call: Call, settings: Settings, heeded: bool, seen: int) -> None:
    """Who is asked by a second attempt does not multiply it, and says in its error that nobody else should."""
    client_settings(settings, RETRY_MARKED=not heeded)
    with fake_services() as fake, bind(new_context(do_not_retry=True)):
        fake.on(SERVICE, "GET", "/x/", status=503)
        (error,) = fail(call, 1)
    assert len(fake.calls) == seen
    assert error.do_not_retry
    assert {made.headers.get(wire.DO_NOT_RETRY) for made in fake.calls} == {"1"}


@pytest.mark.parametrize(("heeded", "seen"), [(True, 1), (False, 3)])
def test_what_was_retried_below_is_not_retried(call: Call, settings: Settings, heeded: bool, seen: int) -> None:
    """An answer that says that trying again was tried is final, and the error passes it on."""
    client_settings(settings, RETRY_MARKED=not heeded)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=503, headers={wire.DO_NOT_RETRY: "1"})
        (error,) = fail(call, 1)
    assert len(fake.calls) == seen
    assert error.do_not_retry


def test_a_write_that_failed_once_may_be_retried_above(call: Call) -> None:
    """A POST without a key is not repeated here, so whoever has a key for the whole may still try again."""
    with fake_services() as fake:
        fake.on(SERVICE, "POST", "/x/", status=503)
        with pytest.raises(ServiceUnavailable) as caught:
            call(SERVICE, "POST", "/x/")
    assert not caught.value.do_not_retry


class Middle(Transport):
    """The network of a chain: B is asked, calls C, which fails, and answers as its API layer does."""

    def __init__(self) -> None:
        self.calls_to_c = 0

    def send(self, request: Request) -> Response:
        if request.service == "c-service":
            self.calls_to_c += 1
            return _answer("c-service", 503, {})
        context = from_headers(request.headers)
        with bind(context), pytest.raises(ServiceCallError) as caught:
            ServiceClient("c-service").get("/x/")
        problem = problem_of(caught.value)
        assert problem is not None
        return _answer("b-service", problem.status, problem.headers())

    def pause(self, seconds: float) -> None:
        """Take no time."""


class _NoAsync(AsyncTransport):
    async def send(self, request: Request) -> Response:
        raise AssertionError(f"{request} is not of this test")


def _answer(service: str, status: int, headers: dict[str, str]) -> Response:
    return Response(service=service, status=status, headers=Headers(headers.items()), content=b"")


@pytest.mark.parametrize(("heeded", "seen"), [(True, 3), (False, 9)])
def test_a_chain_does_not_multiply(settings: Settings, heeded: bool, seen: int) -> None:
    """The last of three services sees the retries of one hop; with blind retries at each hop (the tooth) nine calls."""
    client_settings(settings, RETRY_MARKED=not heeded)
    middle = Middle()
    registry = MemoryRegistry({"b-service": ["http://b:1"], "c-service": ["http://c:1"]})
    with use_registry(registry), use_transport(middle, _NoAsync()), pytest.raises(ServiceUnavailable):
        ServiceClient("b-service").get("/x/")
    assert middle.calls_to_c == seen


@pytest.mark.parametrize(
    ("value", "waits"),
    [
        ("0", True),
        ("30", False),
        (None, False),
        ("soon", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", True),
        (f"Wed, 21 Oct {10**20} 07:28:00 GMT", False),
    ],
)
def test_a_throttled_call_waits_as_it_is_told(call: Call, value: str | None, waits: bool) -> None:
    """429 is repeated after its Retry-After, if the call still has that much time, and else is the answer."""
    headers = {} if value is None else {"Retry-After": value}
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=429, headers=headers).then(json={})
        if waits:
            assert call(SERVICE, "GET", "/x/").status == 200
        else:
            with pytest.raises(ServiceResponseError) as caught:
                call(SERVICE, "GET", "/x/")
            assert (caught.value.status, len(fake.calls)) == (429, 1)


def test_a_throttled_call_does_not_come_too_early(call: Call, settings: Settings) -> None:
    """The pause is as long as Retry-After says, however short the backoff would be."""
    client_settings(settings, TIMEOUT=5)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=429, headers={"Retry-After": "2"}).then(json={})
        call(SERVICE, "GET", "/x/")
    assert fake.pauses == [2.0]


@pytest.mark.parametrize(("most", "refused"), [(2, 1), (64, 0)])
def test_no_more_than_so_many_calls_at_once(settings: Settings, most: int, refused: int) -> None:
    """A slow service takes no more than its share of this one's threads: the next call fails at once, not later."""
    client_settings(settings, CONCURRENCY=most, TIMEOUT=30)
    inside, leave = Barrier(3), Event()

    def slow(_: object) -> dict[str, str]:
        inside.wait(10)
        assert leave.wait(10)
        return {}

    before = sample("bandstand_client_rejected_total", reason="too_many_calls")
    with fake_services() as fake, ThreadPoolExecutor(2) as executor:
        fake.on(SERVICE, "GET", "/slow/", json=slow)
        fake.on(SERVICE, "GET", "/x/", json={})
        slow_calls = [executor.submit(ServiceClient(SERVICE).get, "/slow/") for _ in range(2)]
        inside.wait(10)
        try:
            if refused:
                with pytest.raises(TooManyCalls) as caught:
                    ServiceClient(SERVICE).get("/x/")
                assert (caught.value.attempts, caught.value.do_not_retry) == (0, False)
            else:
                assert ServiceClient(SERVICE).get("/x/").status == 200
        finally:
            leave.set()
        assert [done.result().status for done in slow_calls] == [200, 200]
        assert ServiceClient(SERVICE).get("/x/").status == 200
    assert sample("bandstand_client_rejected_total", reason="too_many_calls") - before == refused


@pytest.mark.parametrize(
    "fallback",
    [
        {"items": []},
        lambda error: {"items": []},
        Response(service="elsewhere", status=203, headers=Headers(), content=b'{"items": []}'),
    ],
    ids=["value", "function", "response"],
)
@pytest.mark.parametrize("raises", [ServiceTimeout, ServiceUnavailable])
def test_a_fallback_stands_in_for_a_service_that_is_away(call: Call, fallback: Any, raises: Any) -> None:
    """What was declared is answered in place of the error, marked and counted."""
    before = sample("bandstand_client_fallbacks_total")
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", raises=raises)
        answer = call(SERVICE, "GET", "/x/", fallback=fallback)
    assert (answer.json(), answer.fallback) == ({"items": []}, True)
    assert sample("bandstand_client_fallbacks_total") == before + 1


def test_a_fallback_is_served_while_the_circuit_is_open(call: Call, settings: Settings) -> None:
    """Every call of an outage gets it, those too that are not tried."""
    client_settings(settings, RETRIES=0)
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=503)
        answers = [call(SERVICE, "GET", "/x/", fallback=None) for _ in range(50)]
    assert {(answer.json(), answer.fallback) for answer in answers} == {(None, True)}
    assert len(fake.calls) == 20


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_no_fallback_for_an_answer(call: Call, status: int) -> None:
    """A service that says no, or has a bug, is not replaced by something nicer."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", status=status)
        with pytest.raises(ServiceResponseError):
            call(SERVICE, "GET", "/x/", fallback={})


def test_an_answer_is_no_fallback(call: Call) -> None:
    """As long as the service answers, its answer is what counts."""
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json=1)
        answer = call(SERVICE, "GET", "/x/", fallback=2)
    assert (answer.json(), answer.fallback) == (1, False)


def test_a_client_has_a_fallback_for_all_its_calls() -> None:
    """What is declared for the client holds for each call that declares nothing else."""
    client = ServiceClient(SERVICE, fallback=lambda error: {"because": error.code})
    with fake_services() as fake:
        fake.down(SERVICE)
        assert client.get("/x/").json() == {"because": "service_unavailable"}
        assert client.get("/x/", fallback=[]).json() == []


def test_what_a_fallback_raises_is_raised(call: Call) -> None:
    """A function may decide that there is nothing to stand in for this one."""

    def refuse(error: ServiceCallError) -> None:
        raise LookupError from error

    with fake_services() as fake:
        fake.down(SERVICE)
        with pytest.raises(LookupError):
            call(SERVICE, "GET", "/x/", fallback=refuse)


def test_a_fallback_that_can_not_be_used_is_told_at_once(call: Call) -> None:
    """Whoever declares a value without a form in JSON learns it before the outage."""
    with pytest.raises(TypeError, match="fallback"):
        ServiceClient(SERVICE, fallback=object())
    with fake_services() as fake:
        fake.on(SERVICE, "GET", "/x/", json={})
        with pytest.raises(TypeError, match="fallback"):
            call(SERVICE, "GET", "/x/", fallback={"a": object()})


def test_an_ejected_instance_shows(caplog: pytest.LogCaptureFixture) -> None:
    """Operators see in a metric and read once in the log that an instance is left out."""
    middle = Broken("http://bad:1")
    registry = MemoryRegistry({SERVICE: ["http://bad:1", "http://good:1"]})
    with use_registry(registry), use_transport(middle, _NoAsync()):
        for _ in range(60):
            assert ServiceClient(SERVICE).get("/x/").status == 200
        assert sample("bandstand_client_ejected") == 1
    assert middle.failed == 5
    assert [vars(record)["instance"] for record in caplog.records if "left out" in record.getMessage()] == [
        "http://bad:1"
    ]


class Broken(Transport):
    """A network in which one instance breaks every connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.failed = 0

    def send(self, request: Request) -> Response:
        if request.url.startswith(self._url):
            self.failed += 1
            raise ConnectionBroken(request.url)
        return _answer(SERVICE, 200, {})

    def pause(self, seconds: float) -> None:
        """Take no time."""
