import asyncio
import json
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from bandstand.context import REGISTRY, RequestTrackingMiddleware, current
from bandstand.exceptions import ConfigurationError
from bandstand.identity import PrivateKey, ServiceAuthMiddleware, generate_key, key_set
from tests.identity.conftest import World


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.service} {current().service}")  # type: ignore[attr-defined]


async def async_view(request: HttpRequest) -> HttpResponse:
    return view(request)


def ask_sync(method: str = "GET", **headers: str) -> HttpResponse:
    response = ServiceAuthMiddleware(view)(RequestFactory().generic(method, "/", headers=headers))
    assert isinstance(response, HttpResponse)
    return response


def ask_async(method: str = "GET", **headers: str) -> HttpResponse:
    request = AsyncRequestFactory().generic(method, "/", headers=headers)
    response = asyncio.run(ServiceAuthMiddleware(async_view)(request))
    assert isinstance(response, HttpResponse)
    return response


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Any:
    def with_token(token: str | None = None, method: str = "GET", **headers: str) -> HttpResponse:
        if token is not None:
            headers["X-Service-Token"] = token
        response: HttpResponse = request.param(method, **headers)
        return response

    return with_token


def test_a_request_without_a_token_goes_on(configured: World, ask: Any) -> None:
    """Users and browsers bring no service token; nobody is named as the caller."""
    assert ask().content == b"None None"


def test_a_listed_caller_is_named(configured: World, ask: Any) -> None:
    """The verified caller stands on the request and in the context, and is gone from the context afterwards."""
    assert ask(configured.service_token()).content == b"order-service order-service"
    assert current().service is None


def test_an_invalid_token_is_answered_401(configured: World, ask: Any) -> None:
    """The answer is a problem document with a challenge, and the view does not run."""
    response = ask("x.y.z")
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["WWW-Authenticate"] == "ServiceToken"
    problem = json.loads(response.content)
    assert problem.keys() == {"type", "title", "status", "detail", "code", "service", "correlation_id"}
    assert (problem["status"], problem["service"], problem["code"]) == (401, "test-service", "invalid_service_token")


def test_a_caller_that_is_not_listed_is_answered_403(configured: World, ask: Any) -> None:
    """A known service that may not call is told so, and counted by name."""
    labels = {"caller": "product-service"}
    before = REGISTRY.get_sample_value("bandstand_callers_refused_total", labels) or 0.0
    response = ask(configured.service_token(configured.uninvited))
    assert response.status_code == 403
    assert json.loads(response.content)["code"] == "caller_not_allowed"
    assert REGISTRY.get_sample_value("bandstand_callers_refused_total", labels) == before + 1


def test_the_service_itself_is_not_listed_by_itself(configured: World, ask: Any) -> None:
    """Trust in a key is no permission: even our own token needs us on our list."""
    assert ask(configured.service_token(configured.own)).status_code == 403


@pytest.mark.parametrize("allowed", [(), ("a",), ("a", "b"), ("a", "b", "c", "d")])
def test_the_list_of_callers_decides(world: World, settings: Any, allowed: tuple[str, ...]) -> None:
    """Of all pairs exactly the listed ones get through; the others are answered 403."""
    keys: dict[str, PrivateKey] = {name: generate_key(name) for name in ("a", "b", "c", "d")}
    world.write("trusted.json", key_set(key.public for key in keys.values()))
    settings.BANDSTAND = world.setting(ALLOWED_CALLERS=allowed)
    statuses = {
        name: ask_sync(**{"X-Service-Token": world.service_token(key)}).status_code for name, key in keys.items()
    }
    assert statuses == {name: 200 if name in allowed else 403 for name in keys}


def test_without_trusted_keys_nobody_is_believed(world: World, settings: Any, ask: Any) -> None:
    """A service that names no trusted keys refuses every token."""
    settings.BANDSTAND = world.setting(TRUSTED_KEYS_FILE="")
    assert ask(world.service_token()).status_code == 401


def test_trusted_keys_that_can_not_be_read_are_an_error(world: World, settings: Any) -> None:
    """A wrong file of trusted keys is never taken for an empty one."""
    settings.BANDSTAND = world.setting(TRUSTED_KEYS_FILE=world.path("missing.json"))
    with pytest.raises(ConfigurationError, match="BANDSTAND_TRUSTED_KEYS_FILE"):
        ask_sync(**{"X-Service-Token": world.service_token()})


def test_a_header_with_underscores_adds_nothing(configured: World) -> None:
    """Servers merge X_Service_Token into X-Service-Token: it has to be a valid token too, and two are none."""
    request = RequestFactory().get("/", headers={"X_Service_Token": "x.y.z"})
    assert ServiceAuthMiddleware(view)(request).status_code == 401
    merged = f"{configured.service_token()},{configured.service_token()}"
    assert ask_sync(**{"X-Service-Token": merged}).status_code == 401


@pytest.mark.parametrize("name", ["X-Service-Name", "X-User-Id", "X-Forwarded-User", "X-Service", "Service"])
def test_no_other_header_names_a_caller(configured: World, ask: Any, name: str) -> None:
    """Only a signed token says who asks."""
    assert ask(**{name: "order-service"}).content == b"None None"


def test_refusals_are_tracked(configured: World) -> None:
    """Behind RequestTrackingMiddleware a refusal carries the request's correlation id."""
    handler = RequestTrackingMiddleware(ServiceAuthMiddleware(view))
    headers = {"X-Service-Token": "x.y.z", "X-Correlation-ID": "purchase-0001"}
    response = handler(RequestFactory().get("/", headers=headers))
    assert json.loads(response.content)["correlation_id"] == "purchase-0001" == response.headers["X-Correlation-ID"]


class TestReplay:
    """A captured token, where the callee denies replay and where it does not."""

    @pytest.fixture(autouse=True)
    def empty_cache(self) -> None:
        cache.clear()

    @pytest.fixture
    def denying(self, world: World, settings: Any) -> World:
        settings.BANDSTAND = world.setting(REPLAY="deny")
        return world

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
    def test_a_second_use_is_denied(self, denying: World, ask: Any, method: str) -> None:
        """On an unsafe method a token is believed once."""
        token = denying.service_token()
        assert [ask(token, method).status_code for _ in range(3)] == [200, 401, 401]

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_safe_methods_may_repeat(self, denying: World, ask: Any, method: str) -> None:
        """Reading with the same token is in order until it expires."""
        token = denying.service_token()
        assert [ask(token, method).status_code for _ in range(3)] == [200, 200, 200]

    def test_each_token_counts_for_itself(self, denying: World, ask: Any) -> None:
        """Another token of the same caller is believed."""
        tokens = [denying.service_token(jti=f"token-{number:010}") for number in range(3)]
        assert [ask(token, "POST").status_code for token in tokens] == [200, 200, 200]

    def test_without_denial_the_window_is_the_life_of_the_token(self, configured: World, ask: Any) -> None:
        """By default a token may be used again until it expires: this is what denying replay is for."""
        token = configured.service_token()
        assert [ask(token, "POST").status_code for _ in range(3)] == [200, 200, 200]

    def test_a_cache_that_can_not_say_denies(self, denying: World, settings: Any, ask: Any) -> None:
        """Without a working cache nobody knows whether the token is new, so it is refused."""
        settings.CACHES = {"default": {"BACKEND": "tests.identity.test_middleware.DeafCache"}}
        assert ask(denying.service_token(), "POST").status_code == 401

    def test_a_caller_that_is_not_listed_uses_nothing_up(self, denying: World, ask: Any) -> None:
        """A refused caller leaves no mark in the cache."""
        assert ask(denying.service_token(denying.uninvited), "POST").status_code == 403
        assert not cache._cache  # type: ignore[attr-defined]


class DeafCache(BaseCache):
    """Stores nothing and says so, as a cache does whose server is down."""

    def __init__(self, _: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: Any, value: Any, timeout: Any = None, version: Any = None) -> bool:
        return False
