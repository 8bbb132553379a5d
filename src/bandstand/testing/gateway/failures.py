"""What happens when a service is slow, broken or gone."""

from uuid import uuid4

import pytest

from bandstand.testing.gateway.base import SIZE_LIMIT, GatewayRules, GatewayUnderTest, Trait

__all__ = ["FailureConformance"]


class FailureConformance(GatewayRules):
    """What happens when a service is slow, broken or gone."""

    def test_a_slow_service_is_given_up(self, gateway: GatewayUnderTest) -> None:
        """At the gateway's time-out the client gets 504, however long the service would take."""
        self.assert_problem(gateway.client.get("/api/users/?sleep=6"), 504, "gateway_timeout")

    def test_a_slow_post_is_not_repeated(self, gateway: GatewayUnderTest) -> None:
        """A write that timed out may have happened."""
        key = uuid4().hex
        assert gateway.client.post(f"/api/users/?sleep=6&key={key}").status == 504
        assert gateway.users.calls[key] == 1

    @pytest.mark.parametrize("fault", ["status=502", "status=503", "status=504", "reset=1"])
    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_a_safe_method_is_tried_again(self, gateway: GatewayUnderTest, method: str, fault: str) -> None:
        """One failure on the way is not shown to a client that only reads."""
        key = uuid4().hex
        assert gateway.client.request(method, f"/api/users/?{fault}&times=1&key={key}").status == 200
        assert gateway.users.calls[key] == 2

    @pytest.mark.parametrize("fault", ["status=502", "status=503", "status=504", "reset=1"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_a_write_is_sent_once(self, gateway: GatewayUnderTest, method: str, fault: str) -> None:
        """A write that reached the service is never repeated by the gateway, also not when the client asks for it."""
        key = uuid4().hex
        asking = {"X-Envoy-Retry-On": "5xx,reset,retriable-4xx", "X-Envoy-Max-Retries": "3"}
        answer = gateway.client.request(method, f"/api/users/?{fault}&times=1&key={key}", headers=asking, body=b"{}")
        assert answer.status >= 500
        assert gateway.users.calls[key] == 1

    def test_a_failure_that_stays_is_shown(self, gateway: GatewayUnderTest) -> None:
        """Retries end, and the service's own answer goes to the client."""
        key = uuid4().hex
        answer = gateway.client.get(f"/api/users/?status=503&key={key}")
        assert (answer.status, answer.headers["content-type"]) == (503, "application/json")
        assert gateway.users.calls[key] <= 3

    def test_an_error_of_the_service_is_its_own(self, gateway: GatewayUnderTest) -> None:
        """A 500 is not tried again and reaches the client as the service wrote it."""
        key = uuid4().hex
        answer = gateway.client.get(f"/api/users/?status=500&key={key}")
        assert (answer.status, answer.json()["service"], gateway.users.calls[key]) == (500, "users", 1)

    @pytest.mark.parametrize("size", [0, SIZE_LIMIT // 2])
    def test_an_instance_that_refuses_connections_is_not_noticed(self, gateway: GatewayUnderTest, size: int) -> None:
        """Where nothing was sent, a write may go to the next instance too, body and all."""
        self.needs(Trait.SECOND_INSTANCE)
        statuses = {gateway.client.post("/api/halves/", body=b"x" * size).status for _ in range(8)}
        assert statuses == {200}

    @pytest.mark.parametrize("path", ["/api/sick/", "/api/gone/"])
    def test_a_service_without_healthy_instances_answers_503(self, gateway: GatewayUnderTest, path: str) -> None:
        """Clients learn it without waiting for the time-out, and learn nothing of hosts and ports."""
        answer = gateway.client.get(path)
        self.assert_problem(answer, 503, "service_unavailable")
        if Trait.PROBLEMS not in self.lacks:
            assert answer.headers["retry-after"] == "1"
        assert b"127.0.0." not in answer.body

    def test_a_client_cannot_change_the_time_out(self, gateway: GatewayUnderTest) -> None:
        """Headers that steer the gateway are obeyed from nobody: with the time that they ask for it would be served."""
        answer = gateway.client.get("/api/users/?sleep=6", headers={"X-Envoy-Upstream-Rq-Timeout-Ms": "20000"})
        assert answer.status == 504

    def test_a_large_answer_arrives_whole(self, gateway: GatewayUnderTest) -> None:
        """Limits are for requests; an answer streams through."""
        answer = gateway.client.get("/api/users/?size=3000000")
        assert len(answer.json()["padding"]) == 3_000_000

    def test_an_upgrade_is_not_passed_on(self, gateway: GatewayUnderTest) -> None:
        """The gateway speaks HTTP alone; a tunnel would leave all its rules behind."""
        self.needs(Trait.REFUSES_UPGRADES)
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "x",
            "Sec-WebSocket-Version": "13",
        }
        self.assert_problem(gateway.client.get("/api/users/", headers=headers), 403, "upgrade_refused")

    def test_no_answer_names_the_software(self, gateway: GatewayUnderTest) -> None:
        """Neither the gateway's name and version nor the service's own server are told."""
        self.needs(Trait.HIDES_SERVERS)
        for path in ("/api/users/", "/nothing", "/api/gone/"):
            headers = str(gateway.client.get(path).headers).lower()
            assert [name for name in ("python", "envoy", "kong") if name in headers] == []
