"""How often one address may ask, and how much at a time."""

import sys
from typing import Final
from uuid import uuid4

import pytest

from bandstand.testing.gateway.base import SIZE_LIMIT, GatewayRules, GatewayUnderTest, Trait

__all__ = ["RateLimitConformance", "SizeConformance"]

_MANY: Final = 500


class RateLimitConformance(GatewayRules):
    """How often one address may ask."""

    def test_a_limit_of_a_route_holds(self, gateway: GatewayUnderTest) -> None:
        """Past the limit of a minute a client gets 429 with what it needs to come back in time."""
        answers = [gateway.client.get("/api/orders/by-minute/") for _ in range(6)]
        while answers[-1].status == 200 and len(answers) < _MANY:  # on a slow machine the allowance grows meanwhile
            answers.append(gateway.client.get("/api/orders/by-minute/"))
        assert [answer.status for answer in answers[:5]] == [200] * 5
        self.assert_problem(answers[-1], 429, "throttled")
        limit, left, reset = self.limit_of(answers[-1])
        assert (limit, left) == (5, 0)
        assert 0 < reset <= 60
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60

    def test_an_answer_tells_what_is_left(self, gateway: GatewayUnderTest) -> None:
        """A client that counts can slow down before it is refused."""
        first, second = (gateway.client.get("/api/orders/counted/") for _ in range(2))
        assert [self.limit_of(answer)[:2] for answer in (first, second)] == [(5, 4), (5, 3)]
        assert "retry-after" not in second.headers

    def test_a_limit_of_an_hour_holds(self, gateway: GatewayUnderTest) -> None:
        """The hour has a limit of its own."""
        statuses = [gateway.client.get("/api/orders/by-hour/").status for _ in range(6)]
        assert statuses == [200] * 5 + [429]

    def test_both_paths_and_all_methods_share_a_limit(self, gateway: GatewayUnderTest) -> None:
        """No second spelling of a path and no other method is a second allowance."""
        ways = [("GET", "/api/orders/shared"), ("POST", "/api/v1/orders/shared/"), ("GET", "/api/v1/orders/shared?x=1")]
        statuses = [gateway.client.request(*ways[turn % 3]).status for turn in range(8)]
        assert statuses == [200] * 6 + [429] * 2

    def test_a_spoofed_address_is_no_new_allowance(self, gateway: GatewayUnderTest) -> None:
        """Addresses are counted as the connection shows them."""
        forged = [
            {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"} for number in range(12)
        ]
        statuses = [gateway.client.get("/api/orders/spoofed/", headers=headers).status for headers in forged]
        assert statuses == [200] * 5 + [429] * 7

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the whole of 127.0.0.0/8 without set-up")
    def test_each_address_has_its_own_allowance(self, gateway: GatewayUnderTest) -> None:
        """One noisy client does not shut out the others."""
        path = "/api/orders/per-address/"
        assert [gateway.client.get(path, source="127.0.0.2").status for _ in range(3)] == [200, 200, 429]
        assert gateway.client.get(path, source="127.0.0.3").status == 200


class SizeConformance(GatewayRules):
    """How large a request may be, and of which form."""

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_up_to_the_limit_arrives(self, gateway: GatewayUnderTest, chunked: bool) -> None:
        """The limit itself is allowed; a chunked body arrives with its length, which WSGI servers need."""
        answer = gateway.client.post("/api/users/", body=_chunks(SIZE_LIMIT) if chunked else b"x" * SIZE_LIMIT)
        assert (answer.status, answer.json()["body_bytes"]) == (200, SIZE_LIMIT)
        assert answer.received("content-length") == [str(SIZE_LIMIT)]

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_past_the_limit_is_refused(self, gateway: GatewayUnderTest, chunked: bool) -> None:
        """One byte more is refused, and nothing of it reaches the service."""
        key = uuid4().hex
        body = _chunks(SIZE_LIMIT + 1) if chunked else b"x" * (SIZE_LIMIT + 1)
        self.assert_problem(gateway.client.post(f"/api/users/?key={key}", body=body), 413, "body_too_large")
        assert gateway.users.calls[key] == 0

    @pytest.mark.parametrize(
        "headers",
        [{"X-Large": "x" * 17_000}, {f"X-Number-{number}": "1" for number in range(80)}],
        ids=["large", "many"],
    )
    def test_too_many_or_too_large_headers_are_refused(
        self, gateway: GatewayUnderTest, headers: dict[str, str]
    ) -> None:
        """16 kB and 60 headers are enough for any client of an API."""
        self.needs(Trait.HEADER_LIMITS)
        self.assert_problem(gateway.client.get("/api/users/", headers=headers), 431, "headers_too_large")

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
    def test_an_ambiguous_request_is_refused(self, gateway: GatewayUnderTest, request_bytes: bytes) -> None:
        """What two parsers might read in two ways is no request."""
        self.needs(Trait.STRICT_PARSING)
        assert gateway.client.raw(request_bytes).status == 400


def _chunks(size: int) -> list[bytes]:
    return [b"x" * 65_536] * (size // 65_536) + [b"x" * (size % 65_536)] * bool(size % 65_536)
