"""How a gateway of the platform behaves, whichever it is: all that these tests know of it is its address."""

import re
import sys
import time
from uuid import uuid4

import pytest

from bandstand.conf import wire
from tests.integration.gateway.client import Answer
from tests.integration.gateway.conftest import ORIGIN, Gateway

pytestmark = pytest.mark.integration

LIMIT = 1_048_576


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["service"]) == (status, code, "gateway")
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]


# --- routing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api/v1/users", "/api/users"])
@pytest.mark.parametrize("rest", ["", "/", "/7/", "/7/profile/?page=2&q=a%20b", "?page=2"])
def test_a_route_answers_with_and_without_its_version(gateway: Gateway, prefix: str, rest: str) -> None:
    """Both forms reach the same versioned path of the service, with what follows unchanged."""
    answer = gateway.client.get(f"{prefix}{rest}")
    assert answer.status == 200
    assert answer.json()["path"] == f"/api/v1/users{rest}"


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/orders/", "orders"),
        ("/api/v1/orders/1/", "orders"),
        ("/api/auth/login/", "users"),
        ("/api/auth", "users"),
    ],
)
def test_each_path_reaches_its_service(gateway: Gateway, path: str, service: str) -> None:
    """Services share nothing of their paths."""
    answer = gateway.client.get(path)
    assert (answer.status, answer.json()["service"]) == (200, service)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api", "/api/", "/api/v1", "/api/v1/", "/favicon.ico"),
        *("/api/usersX", "/api/v1/usersX/", "/api/v2/users/", "/API/users/", "/api/v1/user"),
        *("/.well-known/", "/.well-known/jwks.json/", "/.well-known/jwks.jsonX", "/.well-known/other"),
        *("/health/", "/health/ready/", "/metrics", "/admin/", "/api/schema/", "/api/docs/", "/static/x.js"),
        *("/api/users/../../metrics", "/api/users/%2e%2e/%2e%2e/metrics", "/api/users/../../health/", "//metrics"),
    ],
)
def test_what_is_not_routed_is_not_there(gateway: Gateway, path: str) -> None:
    """Prefixes end at a slash, exact paths are exact, and no detour leads to what a service shows only inside."""
    assert_problem(gateway.client.get(path), 404, "not_found")


def test_an_exact_path_is_reached(gateway: Gateway) -> None:
    """A path outside the API is routed as it stands."""
    assert gateway.client.get("/.well-known/jwks.json").json()["path"] == "/.well-known/jwks.json"


@pytest.mark.parametrize("path", ["/api/users/..%2f..%2fmetrics", "/api/users/%2Fetc", "/api/users/..%5c..%5cmetrics"])
def test_an_escaped_slash_is_refused(gateway: Gateway, path: str) -> None:
    """What a service might read as another path than the gateway did never reaches it."""
    assert_problem(gateway.client.get(path), 400, "bad_request")


def test_doubled_slashes_are_one(gateway: Gateway) -> None:
    """The service sees the path by which the gateway chose the route."""
    assert gateway.client.get("//api//v1///users//7/").json()["path"] == "/api/v1/users/7/"


# --- what the service learns ---------------------------------------------------------------------


def test_the_service_learns_how_it_was_asked(gateway: Gateway) -> None:
    """Host stays, so that links lead back through the gateway; scheme and address come from the gateway."""
    answer = gateway.client.get("/api/users/", headers={"Host": "shop.example:8443"})
    assert answer.received("host") == ["shop.example:8443"]
    assert answer.received("x-forwarded-proto") == ["http"]
    assert len(answer.received("x-forwarded-for")) == 1


def test_the_service_learns_how_long_the_gateway_waits(gateway: Gateway) -> None:
    """The deadline of the gateway goes along, whatever the client says."""
    answer = gateway.client.get("/api/users/", headers={wire.REQUEST_TIMEOUT_MS: "86400000"})
    assert answer.received(wire.REQUEST_TIMEOUT_MS.lower()) == ["2000"]


@pytest.mark.parametrize("name", [name for name in wire.INTERNAL_HEADERS if name != wire.REQUEST_TIMEOUT_MS])
def test_internal_headers_are_stripped(gateway: Gateway, name: str) -> None:
    """Nothing that a service believes can be sent from outside, in whatever letters."""
    for form in (name, name.lower(), name.upper()):
        assert gateway.client.get("/api/users/", headers={form: "spoofed"}).received(name.lower()) == []


def test_headers_with_underscores_never_arrive(gateway: Gateway) -> None:
    """WSGI reads ``X_Service_Token`` as ``X-Service-Token``, so no name with an underscore may pass."""
    headers = {name.replace("-", "_"): "spoofed" for name in wire.INTERNAL_HEADERS}
    answer = gateway.client.get("/api/users/", headers=headers)
    assert [name for name, value in answer.json()["headers"] if "_" in name or value == "spoofed"] == []


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Port"])
def test_a_client_cannot_say_where_it_comes_from(gateway: Gateway, name: str) -> None:
    """The gateway is the first that knows the address, so every earlier claim is dropped."""
    answer = gateway.client.get("/api/users/", headers={name: "203.0.113.9"})
    assert "203.0.113.9" not in str(answer.json()["headers"])


def test_a_client_cannot_claim_to_have_come_by_tls(gateway: Gateway) -> None:
    """A spoofed scheme would let cookies and redirects believe in an encryption that is not there."""
    answer = gateway.client.get("/api/users/", headers={"X-Forwarded-Proto": "https"})
    assert answer.received("x-forwarded-proto") == ["http"]


def test_headers_of_clients_arrive(gateway: Gateway) -> None:
    """Tokens, idempotency keys and traces pass unchanged."""
    sent = {
        "authorization": "Bearer abc",
        "idempotency-key": "order-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }
    answer = gateway.client.get("/api/users/", headers=sent)
    assert {name: answer.received(name) for name in sent} == {name: [value] for name, value in sent.items()}


# --- correlation id ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a.b_c-12", "x" * 64, "3f2a9d0e-0b51-4c39-9a53-6f1f1c6f5f11"])
def test_a_well_formed_correlation_id_is_kept(gateway: Gateway, value: str) -> None:
    """A client's own id goes to the service and comes back."""
    answer = gateway.client.get("/api/users/", headers={wire.CORRELATION_ID: value})
    assert answer.received("x-correlation-id") == [value]
    assert answer.headers["x-correlation-id"] == value


@pytest.mark.parametrize(
    "value", [None, "", "short", "x" * 65, "with space in it", "semi;colon;s", "{jndi:ldap}", "a" * 8 + "é"]
)
def test_any_other_correlation_id_is_replaced(gateway: Gateway, value: str | None) -> None:
    """A missing or malformed id becomes a fresh one, which the service and the client both see."""
    answer = gateway.client.get("/api/users/", headers={} if value is None else {wire.CORRELATION_ID: value})
    made = answer.headers["x-correlation-id"]
    assert made != value
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", made)
    assert answer.received("x-correlation-id") == [made]


def test_two_correlation_ids_are_replaced_by_one(gateway: Gateway) -> None:
    """A header sent twice would be read differently by each service."""
    request = (
        b"GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: first-12\r\nX-Correlation-ID: second-12\r\n\r\n"
    )
    answer = gateway.client.raw(request)
    assert len(answer.received("x-correlation-id")) == 1
    assert answer.received("x-correlation-id")[0] not in {"first-12", "second-12"}


def test_a_request_id_of_the_client_is_not_the_correlation_id(gateway: Gateway) -> None:
    """No other header is a way around the form of the correlation id."""
    answer = gateway.client.get("/api/users/", headers={"X-Request-ID": "<script>"})
    assert "<script>" not in str(answer.json()["headers"])


def test_an_answer_of_the_gateway_has_the_correlation_id(gateway: Gateway) -> None:
    """Header and problem name it, so that a complaint finds its line in the log."""
    answer = gateway.client.get("/nothing", headers={wire.CORRELATION_ID: "complaint-1"})
    assert answer.headers["x-correlation-id"] == "complaint-1"
    assert answer.json()["correlation_id"] == "complaint-1"


# --- cross-origin requests -----------------------------------------------------------------------


def preflight(gateway: Gateway, origin: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    return gateway.client.request("OPTIONS", "/api/users/", headers=headers)


def test_a_preflight_of_a_named_origin_is_answered(gateway: Gateway) -> None:
    """The gateway answers for the service, and names what clients need."""
    answer = preflight(gateway, ORIGIN)
    assert answer.status in {200, 204}
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    for name in ("authorization", "content-type", "idempotency-key", "x-correlation-id"):
        assert name in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://shop.example", f"{ORIGIN}.evil.example", "https://shop.example:3000"],
)
def test_a_preflight_of_another_origin_is_not_allowed(gateway: Gateway, origin: str) -> None:
    """An origin that is not named gets no permission, and the service is not asked."""
    answer = preflight(gateway, origin)
    assert "access-control-allow-origin" not in answer.headers
    assert b"service" not in answer.body


def test_an_answer_tells_the_named_origin_that_it_may_read(gateway: Gateway) -> None:
    """Problems may be read too, or a browser could not show them."""
    for path in ("/api/users/", "/api/gone/"):
        answer = gateway.client.get(path, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-correlation-id" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_an_answer_tells_no_other_origin(gateway: Gateway, origin: str) -> None:
    """A browser keeps the answer from a page of another origin."""
    assert "access-control-allow-origin" not in gateway.client.get("/api/users/", headers={"Origin": origin}).headers


# --- rate limits ---------------------------------------------------------------------------------


def test_a_limit_of_a_route_holds(gateway: Gateway) -> None:
    """Past the limit of a minute a client gets 429 with what it needs to come back in time."""
    answers = [gateway.client.get("/api/orders/by-minute/") for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert_problem(answers[-1], 429, "throttled")
    assert int(answers[-1].headers["x-ratelimit-limit"].split(",")[0]) == 5
    assert answers[-1].headers["x-ratelimit-remaining"] == "0"
    assert 0 < int(answers[-1].headers["x-ratelimit-reset"]) <= 60
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


def test_an_answer_tells_what_is_left(gateway: Gateway) -> None:
    """A client that counts can slow down before it is refused."""
    first, second = (gateway.client.get("/api/orders/counted/") for _ in range(2))
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("5", "4")
    assert second.headers["x-ratelimit-remaining"] == "3"
    assert "retry-after" not in second.headers


def test_a_limit_of_an_hour_holds(gateway: Gateway) -> None:
    """The hour has a limit of its own."""
    statuses = [gateway.client.get("/api/orders/by-hour/").status for _ in range(6)]
    assert statuses == [200] * 5 + [429]


def test_both_paths_and_all_methods_share_a_limit(gateway: Gateway) -> None:
    """No second spelling of a path and no other method is a second allowance."""
    ways = [("GET", "/api/orders/shared"), ("POST", "/api/v1/orders/shared/"), ("GET", "/api/v1/orders/shared?x=1")]
    statuses = [gateway.client.request(*ways[turn % 3]).status for turn in range(8)]
    assert statuses == [200] * 6 + [429] * 2


def test_a_spoofed_address_is_no_new_allowance(gateway: Gateway) -> None:
    """Addresses are counted as the connection shows them."""
    forged = [{"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"} for number in range(12)]
    statuses = [gateway.client.get("/api/orders/spoofed/", headers=headers).status for headers in forged]
    assert statuses == [200] * 5 + [429] * 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the whole of 127.0.0.0/8 without set-up")
def test_each_address_has_its_own_allowance(gateway: Gateway) -> None:
    """One noisy client does not shut out the others."""
    path = "/api/orders/per-address/"
    assert [gateway.client.get(path, source="127.0.0.2").status for _ in range(3)] == [200, 200, 429]
    assert gateway.client.get(path, source="127.0.0.3").status == 200


# --- limits of a request -------------------------------------------------------------------------


def chunks(size: int) -> list[bytes]:
    return [b"x" * 65_536] * (size // 65_536) + [b"x" * (size % 65_536)] * bool(size % 65_536)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_up_to_the_limit_arrives(gateway: Gateway, chunked: bool) -> None:
    """The limit itself is allowed; a chunked body arrives with its length, which WSGI servers need."""
    answer = gateway.client.post("/api/users/", body=chunks(LIMIT) if chunked else b"x" * LIMIT)
    assert (answer.status, answer.json()["body_bytes"]) == (200, LIMIT)
    assert answer.received("content-length") == [str(LIMIT)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_past_the_limit_is_refused(gateway: Gateway, chunked: bool) -> None:
    """One byte more is refused, and nothing of it reaches the service."""
    key = uuid4().hex
    body = chunks(LIMIT + 1) if chunked else b"x" * (LIMIT + 1)
    assert_problem(gateway.client.post(f"/api/users/?key={key}", body=body), 413, "body_too_large")
    assert gateway.users.calls[key] == 0


@pytest.mark.parametrize(
    "headers", [{"X-Large": "x" * 17_000}, {f"X-Number-{number}": "1" for number in range(80)}], ids=["large", "many"]
)
def test_too_many_or_too_large_headers_are_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    """16 kB and 60 headers are enough for any client of an API."""
    assert_problem(gateway.client.get("/api/users/", headers=headers), 431, "headers_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /api/users/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/users/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
        b"GET /api/users/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["two lengths", "two content-lengths", "NUL in a header", "NUL in the path", "no request"],
)
def test_an_ambiguous_request_is_refused(gateway: Gateway, request_bytes: bytes) -> None:
    """What two parsers might read in two ways is no request."""
    assert gateway.client.raw(request_bytes).status == 400


# --- time-outs and retries -----------------------------------------------------------------------


def test_a_slow_service_is_given_up(gateway: Gateway) -> None:
    """At the gateway's time-out the client gets 504, however long the service would take."""
    begun = time.monotonic()
    answer = gateway.client.get("/api/users/?sleep=6")
    assert_problem(answer, 504, "gateway_timeout")
    assert 1.9 < time.monotonic() - begun < 5


def test_a_slow_post_is_not_repeated(gateway: Gateway) -> None:
    """A write that timed out may have happened."""
    key = uuid4().hex
    assert gateway.client.post(f"/api/users/?sleep=6&key={key}").status == 504
    assert gateway.users.calls[key] == 1


@pytest.mark.parametrize("fault", ["status=502", "status=503", "status=504", "reset=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_method_is_tried_again(gateway: Gateway, method: str, fault: str) -> None:
    """One failure on the way is not shown to a client that only reads."""
    key = uuid4().hex
    assert gateway.client.request(method, f"/api/users/?{fault}&times=1&key={key}").status == 200
    assert gateway.users.calls[key] == 2


@pytest.mark.parametrize("fault", ["status=502", "status=503", "status=504", "reset=1"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_is_sent_once(gateway: Gateway, method: str, fault: str) -> None:
    """A write that reached the service is never repeated by the gateway, also not when the client asks for it."""
    key = uuid4().hex
    asking = {"X-Envoy-Retry-On": "5xx,reset,retriable-4xx", "X-Envoy-Max-Retries": "3"}
    answer = gateway.client.request(method, f"/api/users/?{fault}&times=1&key={key}", headers=asking, body=b"{}")
    assert answer.status >= 500
    assert gateway.users.calls[key] == 1


def test_a_failure_that_stays_is_shown(gateway: Gateway) -> None:
    """Retries end, and the service's own answer goes to the client."""
    key = uuid4().hex
    answer = gateway.client.get(f"/api/users/?status=503&key={key}")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/json")
    assert gateway.users.calls[key] <= 3


def test_an_error_of_the_service_is_its_own(gateway: Gateway) -> None:
    """A 500 is not tried again and reaches the client as the service wrote it."""
    key = uuid4().hex
    answer = gateway.client.get(f"/api/users/?status=500&key={key}")
    assert (answer.status, answer.json()["service"], gateway.users.calls[key]) == (500, "users", 1)


@pytest.mark.parametrize("size", [0, LIMIT // 2])
def test_an_instance_that_refuses_connections_is_not_noticed(gateway: Gateway, size: int) -> None:
    """Where nothing was sent, a write may go to the next instance too, body and all."""
    statuses = {gateway.client.post("/api/halves/", body=b"x" * size).status for _ in range(8)}
    assert statuses == {200}


@pytest.mark.parametrize("path", ["/api/sick/", "/api/gone/"])
def test_a_service_without_healthy_instances_answers_503(gateway: Gateway, path: str) -> None:
    """Clients learn it without waiting for the time-out, and learn nothing of hosts and ports."""
    answer = gateway.client.get(path)
    assert_problem(answer, 503, "service_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert b"127.0.0.1" not in answer.body


def test_a_client_cannot_change_the_time_out(gateway: Gateway) -> None:
    """Headers that steer the gateway are obeyed from nobody."""
    begun = time.monotonic()
    answer = gateway.client.get("/api/users/?sleep=6", headers={"X-Envoy-Upstream-Rq-Timeout-Ms": "20000"})
    assert answer.status == 504
    assert time.monotonic() - begun < 5


def test_a_large_answer_arrives_whole(gateway: Gateway) -> None:
    """Limits are for requests; an answer streams through."""
    answer = gateway.client.get("/api/users/?size=3000000")
    assert len(answer.json()["padding"]) == 3_000_000


def test_an_upgrade_is_not_passed_on(gateway: Gateway) -> None:
    """The gateway speaks HTTP alone; a tunnel would leave all its rules behind."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert 400 <= gateway.client.get("/api/users/", headers=headers).status < 500


def test_no_answer_names_the_software(gateway: Gateway) -> None:
    """Neither the gateway's name and version nor the service's own server are told."""
    for path in ("/api/users/", "/nothing", "/api/gone/"):
        headers = gateway.client.get(path).headers
        assert "python" not in str(headers).lower()
        assert "envoy" not in str(headers).lower()
