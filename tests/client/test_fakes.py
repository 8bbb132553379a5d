import threading
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from bandstand.client import ServiceClient, call_service
from bandstand.discovery import get_all_services, instances
from bandstand.exceptions import (
    CircuitOpen,
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
    UnknownService,
)
from bandstand.testing.services import FakeServices, RecordedCall, UndeclaredCall, fake_services

from .conftest import Call


def test_a_path_may_have_variables() -> None:
    """A rule for a route answers every id, and tells which was asked for; a variable is one segment."""
    with fake_services() as fake:
        rule = fake.on("user-service", "GET", "/users/{id}/orders/{order}/", json={})
        call_service("user-service", "/users/7/orders/a%20b/")
        assert rule.calls[0].variables == {"id": "7", "order": "a b"}
        assert rule.variables(rule.calls[0]) is not None
        assert rule.variables(msgspec.structs.replace(rule.calls[0], path="/users/7/orders/b/c/")) is None


def test_dots_in_a_path_are_dots() -> None:
    """What looks like a pattern in a path is taken literally."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/.well-known/jwks.json", json={"keys": []})
        assert call_service("user-service", "/.well-known/jwks.json") == {"keys": []}
        with pytest.raises(UndeclaredCall):
            call_service("user-service", "/xwell-known/jwks-json")
        fake._undeclared.clear()


def test_a_body_may_be_made_of_the_call() -> None:
    """A function answers with what it makes of path, query and body."""

    def user(call: RecordedCall) -> dict[str, Any]:
        return {"id": call.variables["id"], "fields": call.params["fields"]}

    with fake_services() as fake:
        fake.on("user-service", "GET", "/users/{id}/", json=user)
        assert call_service("user-service", "/users/7/?fields=a") == {"id": "7", "fields": ["a"]}


def test_answers_follow_each_other() -> None:
    """A rule gives its answers in turn and stays with the last."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", json=1).then(json=2)
        assert [call_service("user-service", "/x/") for _ in range(3)] == [1, 2, 2]


def test_the_last_rule_holds() -> None:
    """A test may say otherwise than the fixture that it builds on."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/users/{id}/", json="general")
        fake.on("user-service", "GET", "/users/7/", json="special")
        assert call_service("user-service", "/users/7/") == "special"
        assert call_service("user-service", "/users/8/") == "general"


@pytest.mark.parametrize(
    "raises", [ServiceTimeout, ServiceUnavailable, CircuitOpen, ServiceCallError, DeadlineExceeded]
)
def test_failures_can_be_played(call: Call, raises: Any) -> None:
    """What the client would raise for a real service is raised, of exactly that kind."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", raises=raises)
        with pytest.raises(raises) as caught:
            call("user-service", "GET", "/x/")
    assert type(caught.value) is raises


def test_any_exception_can_be_played() -> None:
    """An exception that is given as an object is raised as it is."""
    error = RuntimeError("boom")
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", raises=error)
        with pytest.raises(RuntimeError) as caught:
            call_service("user-service", "/x/")
    assert caught.value is error


def test_an_error_status_is_an_answer() -> None:
    """An error status is declared as what it is, and arrives as a problem."""
    with fake_services() as fake:
        fake.on("user-service", "POST", "/x/", status=409, json={"code": "taken"}, headers={"Retry-After": "1"})
        with pytest.raises(ServiceResponseError) as caught:
            call_service("user-service", "/x/", "POST")
        with pytest.raises(TypeError, match="status=404"):
            fake.on("user-service", "GET", "/x/", raises=ServiceResponseError)
    assert caught.value.problem == {"code": "taken"}


def test_a_service_can_be_down_and_up_again(call: Call) -> None:
    """A service that is down can't be reached, retries included, with rules or without; then it can again."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", json=1)
        fake.down("user-service", "order-service")
        for service in ("user-service", "order-service"):
            with pytest.raises(ServiceUnavailable) as caught:
                call(service, "GET", "/x/")
            assert caught.value.attempts == len(fake.calls_to(service)) == 3
        fake.up("user-service")
        assert call("user-service", "GET", "/x/").json() == 1


@pytest.mark.parametrize(
    ("service", "method", "path"),
    [("user-service", "GET", "/y/"), ("user-service", "POST", "/x/"), ("order-service", "GET", "/x/")],
)
def test_an_undeclared_call_is_refused(call: Call, service: str, method: str, path: str) -> None:
    """A call that no rule answers fails the test, with what is declared and the line to add."""
    with pytest.raises(UndeclaredCall) as caught, fake_services() as fake:  # noqa: PT012 - a fake is a block
        fake.on("user-service", "GET", "/x/")
        call(service, method, path)
    assert f"{method} {path} of {service} was called" in str(caught.value)
    assert "GET /x/ of user-service" in str(caught.value)
    assert f'fake.on("{service}", "{method}", "{path}"' in str(caught.value)


def test_an_undeclared_call_cannot_be_hidden() -> None:
    """Also when the code under test swallows the refusal, the test fails at the end of the block."""
    with pytest.raises(UndeclaredCall), fake_services(), suppress(Exception):  # as careless code does
        call_service("user-service", "/x/")


def test_a_failing_test_keeps_its_own_error() -> None:
    """When the test has failed already, its error is shown and not the undeclared call."""
    with pytest.raises(ZeroDivisionError), fake_services():  # noqa: PT012 - the block's end is what is tested
        with pytest.raises(UndeclaredCall):
            call_service("user-service", "/x/")
        raise ZeroDivisionError


def test_calls_of_other_threads_are_caught() -> None:
    """The fakes stand in for the whole process, so that a thread's call does not reach the network."""
    results: list[Any] = []
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", json=1)
        thread = threading.Thread(target=lambda: results.append(call_service("user-service", "/x/")))
        thread.start()
        thread.join()
    assert results == [1]


def test_after_the_block_everything_is_as_before() -> None:
    """Neither fake transport nor fake registry outlives its block."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", json=1)
        assert instances("user-service")
        assert set(get_all_services()) == {"user-service"}
    with pytest.raises(UnknownService):
        instances("user-service")
    with pytest.raises(ServiceUnavailable):
        ServiceClient("user-service").get("/x/")


def test_fakes_fit_into_a_fixture() -> None:
    """The class can be made first and entered later, as a fixture does."""
    fake = FakeServices()
    fake.on("user-service", "GET", "/x/", json=1)
    with fake as entered:
        assert entered is fake
        assert call_service("user-service", "/x/") == 1
