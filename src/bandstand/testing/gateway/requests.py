"""What happens to a request on its way to the service."""

import re

import pytest

from bandstand.conf import wire
from bandstand.testing.gateway.base import GatewayRules, GatewayUnderTest, Trait

__all__ = ["CorrelationConformance", "RequestConformance"]


class RequestConformance(GatewayRules):
    """What a service learns of a request, and what it never gets to see."""

    def test_the_service_learns_how_it_was_asked(self, gateway: GatewayUnderTest) -> None:
        """Host stays, so that links lead back through the gateway; scheme and address come from the gateway."""
        answer = gateway.client.get("/api/users/", headers={"Host": "shop.example:8443"})
        assert answer.received("host") == ["shop.example:8443"]
        assert answer.received("x-forwarded-proto") == ["http"]
        assert len(answer.received("x-forwarded-for")) == 1

    def test_the_service_learns_how_long_the_gateway_waits(self, gateway: GatewayUnderTest) -> None:
        """The deadline of the gateway goes along, whatever the client says."""
        answer = gateway.client.get("/api/users/", headers={wire.REQUEST_TIMEOUT_MS: "86400000"})
        assert answer.received(wire.REQUEST_TIMEOUT_MS.lower()) == ["2000"]

    @pytest.mark.parametrize("name", [name for name in wire.INTERNAL_HEADERS if name != wire.REQUEST_TIMEOUT_MS])
    def test_internal_headers_are_stripped(self, gateway: GatewayUnderTest, name: str) -> None:
        """Nothing that a service believes can be sent from outside, in whatever letters."""
        for form in (name, name.lower(), name.upper()):
            assert gateway.client.get("/api/users/", headers={form: "spoofed"}).received(name.lower()) == []

    def test_headers_with_underscores_never_arrive(self, gateway: GatewayUnderTest) -> None:
        """WSGI reads ``X_Service_Token`` as ``X-Service-Token``, so no name with an underscore may pass."""
        headers = {name.replace("-", "_"): "spoofed" for name in wire.INTERNAL_HEADERS}
        answer = gateway.client.get("/api/users/", headers=headers)
        assert [name for name, value in answer.json()["headers"] if "_" in name or value == "spoofed"] == []

    @pytest.mark.parametrize(
        "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Port"]
    )
    def test_a_client_cannot_say_where_it_comes_from(self, gateway: GatewayUnderTest, name: str) -> None:
        """The gateway is the first that knows the address, so every earlier claim is dropped."""
        if name == "X-Forwarded-For":
            self.needs(Trait.DROPS_FORWARDED_FOR)
        answer = gateway.client.get("/api/users/", headers={name: "203.0.113.9"})
        assert "203.0.113.9" not in str(answer.json()["headers"])

    def test_a_client_cannot_claim_to_have_come_by_tls(self, gateway: GatewayUnderTest) -> None:
        """A spoofed scheme would let cookies and redirects believe in an encryption that is not there."""
        answer = gateway.client.get("/api/users/", headers={"X-Forwarded-Proto": "https"})
        assert answer.received("x-forwarded-proto") == ["http"]

    def test_headers_of_clients_arrive(self, gateway: GatewayUnderTest) -> None:
        """Tokens, idempotency keys and traces pass unchanged."""
        sent = {
            "authorization": "Bearer abc",
            "idempotency-key": "order-1",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "vendor=1",
        }
        answer = gateway.client.get("/api/users/", headers=sent)
        assert {name: answer.received(name) for name in sent} == {name: [value] for name, value in sent.items()}


class CorrelationConformance(GatewayRules):
    """How a request is known to everybody."""

    @pytest.mark.parametrize("value", ["a.b_c-12", "x" * 64, "3f2a9d0e-0b51-4c39-9a53-6f1f1c6f5f11"])
    def test_a_well_formed_correlation_id_is_kept(self, gateway: GatewayUnderTest, value: str) -> None:
        """A client's own id goes to the service and comes back."""
        answer = gateway.client.get("/api/users/", headers={wire.CORRELATION_ID: value})
        assert answer.received("x-correlation-id") == [value]
        assert answer.headers["x-correlation-id"] == value

    @pytest.mark.parametrize(
        "value", [None, "", "short", "x" * 65, "with space in it", "semi;colon;s", "{jndi:ldap}", "a" * 8 + "é"]
    )
    def test_any_other_correlation_id_is_replaced(self, gateway: GatewayUnderTest, value: str | None) -> None:
        """A missing or malformed id becomes a fresh one, which the service and the client both see."""
        if value is not None:
            self.needs(Trait.ONE_FORM_OF_CORRELATION_ID)
        answer = gateway.client.get("/api/users/", headers={} if value is None else {wire.CORRELATION_ID: value})
        made = answer.headers["x-correlation-id"]
        assert made != value
        assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", made)
        assert answer.received("x-correlation-id") == [made]

    def test_two_correlation_ids_are_replaced_by_one(self, gateway: GatewayUnderTest) -> None:
        """A header sent twice would be read differently by each service."""
        self.needs(Trait.ONE_FORM_OF_CORRELATION_ID)
        request = (
            b"GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: first-12\r\nX-Correlation-ID: second-12\r\n\r\n"
        )
        answer = gateway.client.raw(request)
        assert len(answer.received("x-correlation-id")) == 1
        assert answer.received("x-correlation-id")[0] not in {"first-12", "second-12"}

    def test_a_request_id_of_the_client_is_not_the_correlation_id(self, gateway: GatewayUnderTest) -> None:
        """No other header is a way around the form of the correlation id."""
        answer = gateway.client.get("/api/users/", headers={"X-Request-ID": "<script>"})
        assert "<script>" not in str(answer.json()["headers"])

    def test_an_answer_of_the_gateway_has_the_correlation_id(self, gateway: GatewayUnderTest) -> None:
        """Header and problem name it, so that a complaint finds its line in the log."""
        answer = gateway.client.get("/nothing", headers={wire.CORRELATION_ID: "complaint-1"})
        assert answer.headers["x-correlation-id"] == "complaint-1"
        if Trait.PROBLEMS not in self.lacks:
            assert answer.json()["correlation_id"] == "complaint-1"

    @pytest.mark.parametrize("host", [b"Host: shop.example\r\n", b""])
    def test_http_1_0_is_answered_or_told_what_helps(self, gateway: GatewayUnderTest, host: bytes) -> None:
        """An nginx before the gateway speaks it unless configured otherwise, and so do health checks without a Host."""
        answer = gateway.client.raw(b"GET /api/users/ HTTP/1.0\r\n" + host + b"\r\n")
        if answer.status != 200:
            self.assert_problem(answer, 426, "http_version_refused")
            assert b"proxy_http_version 1.1" in answer.body

    def test_a_request_without_a_host(self, gateway: GatewayUnderTest) -> None:
        """The request is refused with an error that says what is missing."""
        self.assert_problem(gateway.client.raw(b"GET /api/users/ HTTP/1.1\r\n\r\n"), 400, "host_missing")
