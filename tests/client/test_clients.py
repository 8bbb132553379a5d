import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from pytest_django import Settings

from bandstand.client import AsyncServiceClient, Policy, Response, ServiceClient, call_service
from bandstand.conf import wire
from bandstand.context import bind, new_context
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from bandstand.identity import generate_key, key_set, verify_service_token
from bandstand.testing.services import fake_services

from .conftest import Call


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
def test_each_verb_has_a_method(verb: str) -> None:
    """A client has a method for each verb, which sends that verb."""
    with fake_services() as fake:
        fake.on("user-service", verb, "/x/", json={"ok": True})
        assert getattr(ServiceClient("user-service"), verb)("/x/").json() == {"ok": True}

        async def again() -> Response:
            return await getattr(AsyncServiceClient("user-service"), verb)("/x/")  # type: ignore[no-any-return]

        assert asyncio.run(again()).json() == {"ok": True}
        assert [call.method for call in fake.calls] == [verb.upper()] * 2


def test_all_options_reach_the_service(call: Call) -> None:
    """Query, body, headers, key and user arrive at the other service."""
    with fake_services() as fake:
        fake.on("user-service", "POST", "/x/", status=201)
        answer = call(
            "user-service",
            "POST",
            "/x/",
            json={"a": 1},
            params={"b": [1, 2]},
            headers={"X-More": "more"},
            idempotency_key="key",
            on_behalf_of="Bearer abc",
        )
    (made,) = fake.calls
    assert answer.status == 201
    assert (made.json, made.params) == ({"a": 1}, {"b": ["1", "2"]})
    assert (made.headers["x-more"], made.headers["idempotency-key"]) == ("more", "key")
    assert made.headers["authorization"] == "Bearer abc"
    assert made.headers["user-agent"].startswith("test-service bandstand/")


def test_what_passes_is_retried(call: Call) -> None:
    """A GET that finds the service away for a moment succeeds, after waits that grow."""
    with fake_services() as fake:
        rule = fake.on("user-service", "GET", "/x/", status=503).then(raises=ServiceUnavailable).then(json=1)
        assert call("user-service", "GET", "/x/").json() == 1
    assert len(rule.calls) == 3
    assert len(fake.pauses) == 2


def test_a_write_without_a_key_is_sent_once(call: Call) -> None:
    """A POST is repeated only with an idempotency key, and then with the same key."""
    with fake_services() as fake:
        rule = fake.on("user-service", "POST", "/x/", status=503)
        with pytest.raises(ServiceUnavailable) as caught:
            call("user-service", "POST", "/x/", json={})
        assert (len(rule.calls), caught.value.attempts) == (1, 1)
        with pytest.raises(ServiceUnavailable):
            call("user-service", "POST", "/x/", json={}, idempotency_key="key")
    assert [made.headers.get(wire.IDEMPOTENCY_KEY) for made in rule.calls] == [None, "key", "key", "key"]


@pytest.fixture
def keyed(settings: Settings, tmp_path: Path) -> None:
    """Give this service a key that it trusts itself."""
    key = generate_key("test-service")
    own, trusted = tmp_path / "own.json", tmp_path / "trusted.json"
    own.write_text(json.dumps(key.to_jwk()))
    trusted.write_text(json.dumps(key_set([key.public])))
    files = {"SERVICE_KEY_FILE": str(own), "TRUSTED_KEYS_FILE": str(trusted)}
    settings.BANDSTAND = {**settings.BANDSTAND, "IDENTITY": files}


@pytest.mark.usefixtures("keyed")
def test_the_service_says_who_it_is(call: Call) -> None:
    """Every call carries a token signed for its callee, unless it is told to be anonymous."""
    with fake_services() as fake:
        fake.on("test-service", "GET", "/x/")
        call("test-service", "GET", "/x/")
        call("test-service", "GET", "/x/", anonymous=True)
    signed, anonymous = fake.calls
    assert verify_service_token(signed.headers[wire.SERVICE_TOKEN]).iss == "test-service"
    assert wire.SERVICE_TOKEN not in anonymous.headers


@pytest.mark.usefixtures("keyed")
def test_a_write_has_a_token_of_its_own(call: Call) -> None:
    """A callee may believe a token only once where something is changed, so each such try has a fresh one."""
    with fake_services() as fake:
        fake.on("test-service", "POST", "/x/", status=503).then()
        fake.on("test-service", "GET", "/x/")
        call("test-service", "POST", "/x/", idempotency_key="key")
        for _ in range(2):
            call("test-service", "GET", "/x/")
    tokens = [made.headers[wire.SERVICE_TOKEN] for made in fake.calls]
    assert len(set(tokens[:2])) == 2
    assert len(set(tokens[2:])) == 1


def test_nothing_is_sent_without_time(call: Call) -> None:
    """Work that nobody waits for any more does not reach the next service."""
    with fake_services() as fake, bind(new_context(timeout=0)):
        with pytest.raises(DeadlineExceeded):
            call("user-service", "GET", "/x/")
        assert fake.calls == []


def test_a_mistake_is_told_before_anything_is_sent(call: Call) -> None:
    """A wrong path or body is an error of the program, never a request."""
    with fake_services() as fake:
        with pytest.raises(ValueError, match="dot segment"):
            call("user-service", "GET", "/users/../x/")
        with pytest.raises(TypeError, match="JSON"):
            call("user-service", "POST", "/x/", json={"a": object()})
        assert fake.calls == []


def test_the_policy_comes_from_the_settings(settings: Settings) -> None:
    """A client that is made at import time follows BANDSTAND["CLIENT"], unless it was given a policy."""
    client, special = ServiceClient("user-service"), ServiceClient("user-service", policy=Policy(timeout=9))
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": 2.5, "RETRIES": 0}}
    assert (client.policy.timeout, client.policy.retries) == (2.5, 0)
    assert special.policy.timeout == 9


def test_the_waiting_client_refuses_to_stop_an_event_loop() -> None:
    """ServiceClient in a coroutine would stop all other requests of the process, so it is refused with the way out."""

    async def view() -> None:
        ServiceClient("user-service").get("/x/")

    with fake_services(), pytest.raises(SynchronousOnlyOperation, match="AsyncServiceClient"):
        asyncio.run(view())


@pytest.mark.parametrize(
    ("arguments", "method", "body"),
    [(("/x/",), "GET", None), (("/x/", "POST", {"a": 1}), "POST", {"a": 1}), (("/x/", "delete"), "DELETE", None)],
)
def test_call_service_returns_the_decoded_body(arguments: tuple[Any, ...], method: str, body: Any) -> None:
    """The one-line form takes service, endpoint, method, data and headers, and gives the JSON."""
    with fake_services() as fake:
        rule = fake.on("user-service", method, "/x/", json={"id": 1})
        assert call_service("user-service", *arguments, headers={"X-More": "1"}) == {"id": 1}
    assert rule.calls[0].json == body
    assert rule.calls[0].headers["X-More"] == "1"


def test_call_service_returns_none_for_no_content() -> None:
    """An answer without a body, as 204, is None."""
    with fake_services() as fake:
        fake.on("user-service", "DELETE", "/x/", status=204)
        assert call_service("user-service", "/x/", "DELETE") is None


def test_call_service_raises_typed_errors() -> None:
    """The one-line form hides no failure."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/x/", status=404, json={"code": "not_found"})
        fake.on("user-service", "GET", "/y/", raises=ServiceTimeout)
        with pytest.raises(ServiceResponseError) as caught:
            call_service("user-service", "/x/")
        assert (caught.value.status, caught.value.problem) == (404, {"code": "not_found"})
        with pytest.raises(ServiceTimeout):
            call_service("user-service", "/y/")


def test_a_client_shows_its_service() -> None:
    """The repr says whom a client calls."""
    assert repr(ServiceClient("user-service")) == "ServiceClient('user-service')"
