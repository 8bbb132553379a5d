import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import signing
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import rest_framework_settings, throttles
from bandstand.api.devices import device_token, known_device
from bandstand.api.throttles import Rate, SlotThrottle, WindowThrottle
from bandstand.context import bind, new_context

from .test_problems import problem_in


@pytest.fixture(autouse=True)
def _rates(settings: Settings) -> None:
    settings.REST_FRAMEWORK = rest_framework_settings(
        DEFAULT_THROTTLE_RATES={"client": "5/min", "login": "10/15min", "login-address": "30/15min"}
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/s", (20, 1)),
        ("1200/min", (1200, 60)),
        ("10/15min", (10, 900)),
        ("5000 / h", (5000, 3600)),
        ("1/2d", (1, 172800)),
    ],
)
def test_rates_are_read(text: str, rate: tuple[int, int]) -> None:
    """A number, a slash, and a period with or without a number."""
    assert (Rate.parse(text).limit, Rate.parse(text).period) == rate


@pytest.mark.parametrize("text", ["", "10", "10/", "0/min", "-1/min", "10/fortnight", "ten/min", "10/0min"])
def test_what_is_no_rate_is_told(text: str) -> None:
    """With how to write one."""
    with pytest.raises(ImproperlyConfigured, match="is not a rate"):
        Rate.parse(text)


def test_a_client_over_its_limit_waits(api: APIClient) -> None:
    """429 with the limit and the seconds to wait."""
    assert [api.get("/api/v1/reading/").status_code for _ in range(5)] == [200] * 5
    response = api.get("/api/v1/reading/")
    assert problem_in(response, 429)["code"] == "throttled"
    wait = int(response.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert response.headers["RateLimit-Policy"] == '"client";q=5;w=60'
    assert response.headers["RateLimit"] == f'"client";r=0;t={wait}'


def test_users_are_told_apart(api: APIClient) -> None:
    """Each has a limit of their own, from whatever address."""
    for number in range(20):
        assert api.get("/api/v1/reading/", headers={"X-Test-User": str(number)}).status_code == 200
    for address in range(5):
        answer = api.get("/api/v1/reading/", headers={"X-Test-User": "77"}, REMOTE_ADDR=f"10.0.0.{address}")
        assert answer.status_code == 200
    assert api.get("/api/v1/reading/", headers={"X-Test-User": "77"}).status_code == 429


def test_a_header_changes_nothing(api: APIClient) -> None:
    """A thousand made-up addresses from one peer are one client."""
    answers = [
        api.get("/api/v1/reading/", headers={"X-Forwarded-For": f"198.51.100.{n % 250}"}, REMOTE_ADDR="203.0.113.9")
        for n in range(1000)
    ]
    assert sum(answer.status_code == 200 for answer in answers) == 5


def test_behind_a_trusted_proxy_the_client_is_the_one_it_names(api: APIClient) -> None:
    """What the gateway says of the address is believed."""
    for number in range(20):
        headers = {"X-Forwarded-For": f"1.2.3.4, 198.51.100.{number}"}
        assert api.get("/api/v1/reading/", headers=headers, REMOTE_ADDR="127.0.0.1").status_code == 200


def test_a_network_of_ipv6_is_one_client(api: APIClient) -> None:
    """All addresses of a /64 network share one limit, for reading and for signing in."""
    addresses = [f"2001:db8:1:2:{number:x}::1" for number in range(300)]
    answers = [api.get("/api/v1/reading/", REMOTE_ADDR=address) for address in addresses]
    assert sum(answer.status_code == 200 for answer in answers) == 5
    assert api.get("/api/v1/reading/", REMOTE_ADDR="2001:db8:1:3::1").status_code == 200
    tries = [sign_in(api, f"user{number}@example.com", address) for number, address in enumerate(addresses)]
    assert sum(answer.status_code == 200 for answer in tries) == 30


def test_a_mapped_address_is_the_one_of_ipv4(api: APIClient) -> None:
    """An IPv4 address and its IPv6-mapped forms share one limit; another address has its own."""
    spellings = ["203.0.113.9", "::ffff:203.0.113.9", "::ffff:cb00:7109"]
    answers = [api.get("/api/v1/reading/", REMOTE_ADDR=spellings[n % 3]).status_code for n in range(9)]
    assert answers == [200] * 5 + [429] * 4
    assert api.get("/api/v1/reading/", REMOTE_ADDR="::ffff:203.0.113.10").status_code == 200


def test_services_are_not_limited() -> None:
    """How much a verified service may ask is settled between the two."""
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory

    request = Request(APIRequestFactory().get("/"))
    throttle = throttles.ClientThrottle()
    with bind(new_context(service="order-service")):
        assert throttle.identify(request) is None
    assert throttle.identify(request) == "address:127.0.0.1"


def count(throttle: Any, key: str, rate: str, now: float) -> bool:
    return throttle.count(key, Rate.parse(rate), now) is None


def test_a_window_slides() -> None:
    """The earlier window counts for the part of it that is not yet past, so no burst fits around the border."""
    throttle = _Window()
    begin = 1_700_000_040.0 // 60 * 60
    assert all(count(throttle, "k", "10/min", begin + 59) for _ in range(10))
    assert not count(throttle, "k", "10/min", begin + 59)
    allowed = sum(count(throttle, "k", "10/min", begin + 61) for _ in range(10))
    assert allowed == 0
    allowed = sum(count(throttle, "k", "10/min", begin + 90) for _ in range(3))
    assert allowed <= 5
    assert count(throttle, "other", "10/min", begin + 61)


def test_what_is_told_to_wait_is_enough() -> None:
    """After the seconds told, one more passes."""
    throttle = _Window()
    now = 1_700_000_040.0 // 60 * 60 + 30
    for _ in range(4):
        throttle.count("k", Rate.parse("4/min"), now)
    wait = throttle.count("k", Rate.parse("4/min"), now)
    assert wait is not None
    for _ in range(5):
        if throttle.count("k", Rate.parse("4/min"), now + wait) is None:
            break
        now += wait
    else:
        pytest.fail("never let in")


class _Window(WindowThrottle):
    scope = "test"

    def identify(self, request: Any) -> str:
        return "x"


class _Slots(SlotThrottle):
    scope = "test"

    def identify(self, request: Any) -> str:
        return "x"


def test_no_period_has_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries at any moments: at most 10 pass in any 15 minutes. Fixed windows would let 20 pass around a border."""
    import random

    now = 1_700_000_000.0
    monkeypatch.setattr("django.core.cache.backends.locmem.time.time", lambda: now)
    chance, passed = random.Random(7), []
    for _ in range(600):
        now += chance.choice([0.1, 1, 5, 60])
        if count(_Slots(), "k", "10/15min", now):
            passed.append(now)
    assert len(passed) > 50
    for begin in passed:
        assert sum(begin <= moment < begin + 899 for moment in passed) <= 10


def test_counting_is_atomic() -> None:
    """Eight threads at once: exactly the limit passes, with slots and with windows."""
    for throttle in (_Slots, _Window):
        cache.clear()
        with ThreadPoolExecutor(8) as threads:
            passed = sum(threads.map(lambda _, t=throttle: count(t(), "k", "10/h", 1_700_000_000.0), range(200)))
        assert passed == 10


def sign_in(api: APIClient, email: Any, address: str = "203.0.113.1") -> Any:
    return api.post("/api/v1/sign-in/", {"email": email, "password": "x"}, REMOTE_ADDR=address)


def test_ten_tries_for_an_account(api: APIClient) -> None:
    """From however many addresses, in whatever spelling; the answer is the same for accounts that do not exist."""
    spellings = ["ada@example.com", " Ada@Example.com", "ADA@EXAMPLE.COM ", "ａda@example.com"]
    answers = [sign_in(api, spellings[n % 4], f"203.0.113.{n % 200}").status_code for n in range(1000)]
    assert answers.count(200) == 10
    assert answers.count(429) == 990
    assert sign_in(api, "bob@example.com").status_code == 200


def test_thirty_tries_from_an_address(api: APIClient) -> None:
    """On however many accounts; and an address over its limit does not lock the accounts that it names."""
    answers = [sign_in(api, f"user{n}@example.com").status_code for n in range(1000)]
    assert answers.count(200) == 30
    for _ in range(20):
        sign_in(api, "victim@example.com")
    assert sign_in(api, "victim@example.com", "203.0.113.99").status_code == 200


def device_of(api: APIClient, email: str, **more: Any) -> Any:
    return api.post(
        "/api/v1/sign-in/", {"email": email, "password": "right", **more}, REMOTE_ADDR="203.0.113.7"
    ).json()["device"]


def sign_in_from(api: APIClient, email: str, device: object, address: str = "203.0.113.7") -> int:
    body = {"email": email, "password": "x", "device": device}
    return api.post("/api/v1/sign-in/", body, REMOTE_ADDR=address).status_code


def exhaust(api: APIClient, email: str) -> None:
    """Guess passwords until the limit of the account is reached."""
    for number in range(11):
        answer = sign_in(api, email, f"198.51.100.{number}")
    assert answer.status_code == 429


def test_a_stranger_does_not_lock_the_owner_out(api: APIClient) -> None:
    """A known device of the owner has ten tries of its own after strangers have used up those of the account."""
    device = device_of(api, "ada@example.com")
    exhaust(api, "ada@example.com")
    assert sign_in_from(api, "ada@example.com", None) == 429
    statuses = [sign_in_from(api, " ADA@example.com", device) for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2


def test_a_device_is_known_for_one_account(api: APIClient) -> None:
    """A known device of one account gives no tries on another account, and loses none there."""
    own = device_of(api, "eve@example.com")
    exhaust(api, "ada@example.com")
    assert sign_in_from(api, "ada@example.com", own) == 429
    assert sign_in_from(api, "eve@example.com", own) == 200


def test_a_device_stays_one_device(api: APIClient) -> None:
    """A renewed token counts as the same device; another device has a limit of its own."""
    first = device_of(api, "ada@example.com")
    renewed, other = device_of(api, "ada@example.com", device=first), device_of(api, "ada@example.com")
    assert [sign_in_from(api, "ada@example.com", (first, renewed)[n % 2]) for n in range(11)] == [200] * 10 + [429]
    assert sign_in_from(api, "ada@example.com", other) == 200


def test_an_address_of_strangers_does_not_lock_a_known_device_out(api: APIClient) -> None:
    """Known devices behind an address that has reached its limit still sign in, within a limit of their own."""
    devices = [device_of(api, f"user{number}@example.com") for number in range(5)]
    for number in range(31):
        answer = sign_in(api, f"guess{number}@example.com", "203.0.113.7")
    assert answer.status_code == 429
    tries = [sign_in_from(api, f"user{n}@example.com", devices[n]) for _ in range(10) for n in range(5)]
    assert tries == [200] * 30 + [429] * 20


@pytest.mark.parametrize(
    "forged", ["", "x", "a:b:c", "x" * 10_000, 5, None, True, [], {}, ["x"], {"account": "x", "device": "y"}]
)
def test_what_is_no_token_of_a_device_is_ignored(api: APIClient, forged: Any) -> None:
    """A value that is no token of a device is counted as a stranger's try, with the same answer."""
    exhaust(api, "ada@example.com")
    assert sign_in_from(api, "ada@example.com", forged) == 429
    assert sign_in_from(api, "bob@example.com", forged) == 200


def test_a_token_of_a_device_is_signed_and_ends(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was changed, signed with another key or issued 91 days ago makes no device known."""
    device = device_of(api, "ada@example.com")
    exhaust(api, "ada@example.com")
    assert sign_in_from(api, "ada@example.com", device[:-1] + ("A" if device[-1] != "A" else "B")) == 429
    account = signing.loads(device, salt="bandstand.api.devices")["account"]
    with override_settings(SECRET_KEY="another"):
        other = device_token(account)
    assert sign_in_from(api, "ada@example.com", other) == 429
    assert sign_in_from(api, "ada@example.com", device) == 200
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + 91 * 24 * 3600)
    assert known_device(account, device) is None


def test_a_known_device_gives_a_signed_in_user_no_more_tries(api: APIClient) -> None:
    """A signed-in request is counted as its user, even if it names an account with a known device."""
    own = [device_of(api, "eve@example.com") for _ in range(3)]
    answers = [
        api.post(
            "/api/v1/sign-in/",
            {"email": "eve@example.com", "device": own[n % 3]},
            headers={"X-Test-User": "5"},
            REMOTE_ADDR=f"10.1.0.{n}",
        ).status_code
        for n in range(15)
    ]
    assert answers.count(200) == 10


@pytest.mark.parametrize("body", [[], [1], "text", 5, None, {"email": 5}, {"email": ["a"]}, {"email": ""}, {}])
def test_a_body_without_an_account_is_for_the_serializer(api: APIClient, body: Any) -> None:
    """It is no error of ours, and counts for the address."""
    assert api.post("/api/v1/sign-in/", body).status_code == 200


def test_a_signed_in_user_is_the_account(api: APIClient) -> None:
    """For changing a password, whatever the body names."""
    answers = [
        api.post("/api/v1/sign-in/", {"email": f"{n}@x"}, headers={"X-Test-User": "5"}, REMOTE_ADDR=f"10.1.0.{n}")
        for n in range(12)
    ]
    assert [answer.status_code for answer in answers].count(200) == 10


class BrokenCache(LocMemCache):
    """A cache whose every operation fails, as Django's own Redis backend does when Redis is away."""

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError("redis is away")

    add = get = get_many = incr = _fail


class SilentCache(LocMemCache):
    """A cache that keeps nothing and says nothing, as ours does when Redis is away."""

    def add(self, *_: Any, **__: Any) -> bool:
        return False

    def get_many(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def incr(self, *_: Any, **__: Any) -> int:
        raise ValueError


@pytest.mark.parametrize("broken", [BrokenCache, SilentCache])
def test_without_a_cache_reading_is_open_and_signing_in_closed(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, broken: type
) -> None:
    """Limits on reading let pass; guessing passwords is never free."""
    monkeypatch.setattr(throttles, "_cache", lambda: broken("x", {}))
    assert [api.get("/api/v1/reading/").status_code for _ in range(20)] == [200] * 20
    response = sign_in(api, "ada@example.com")
    assert problem_in(response, 503)["code"] == "throttle_unavailable"
    assert response.headers["Retry-After"] == "5"


def test_a_scope_without_a_rate_is_off(api: APIClient, settings: Settings) -> None:
    """None in DEFAULT_THROTTLE_RATES turns a limit off."""
    settings.REST_FRAMEWORK = rest_framework_settings(DEFAULT_THROTTLE_RATES={"client": None})
    assert [api.get("/api/v1/reading/").status_code for _ in range(50)] == [200] * 50
    assert [sign_in(api, "a@b.c").status_code for _ in range(50)] == [200] * 50


def test_keys_tell_nothing(api: APIClient) -> None:
    """No address and no account stands in the cache in clear."""
    sign_in(api, "ada@example.com")
    keys = " ".join(caches["default"]._cache)
    assert "throttle:" in keys
    assert "ada" not in keys
    assert "203.0.113" not in keys
