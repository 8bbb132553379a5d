"""Which path reaches which service, and with which path."""

import pytest

from bandstand.testing.gateway.base import GatewayRules, GatewayUnderTest

__all__ = ["RoutingConformance"]


class RoutingConformance(GatewayRules):
    """Which path reaches which service."""

    @pytest.mark.parametrize("prefix", ["/api/v1/users", "/api/users"])
    @pytest.mark.parametrize("rest", ["", "/", "/7/", "/7/profile/?page=2&q=a%20b", "?page=2"])
    def test_a_route_answers_with_and_without_its_version(
        self, gateway: GatewayUnderTest, prefix: str, rest: str
    ) -> None:
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
    def test_each_path_reaches_its_service(self, gateway: GatewayUnderTest, path: str, service: str) -> None:
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
    def test_what_is_not_routed_is_not_there(self, gateway: GatewayUnderTest, path: str) -> None:
        """Prefixes end at a slash, exact paths are exact, and no detour leads to what a service shows only inside."""
        self.assert_problem(gateway.client.get(path), 404, "not_found")

    def test_an_exact_path_is_reached(self, gateway: GatewayUnderTest) -> None:
        """A path outside the API is routed as it stands."""
        assert gateway.client.get("/.well-known/jwks.json").json()["path"] == "/.well-known/jwks.json"

    @pytest.mark.parametrize(
        "path", ["/api/users/..%2f..%2fmetrics", "/api/users/%2Fetc", "/api/users/..%5c..%5cmetrics"]
    )
    def test_an_escaped_slash_is_refused(self, gateway: GatewayUnderTest, path: str) -> None:
        """What a service might read as another path than the gateway did never reaches it."""
        self.assert_problem(gateway.client.get(path), 400, "bad_request")

    def test_doubled_slashes_are_one(self, gateway: GatewayUnderTest) -> None:
        """The service sees the path by which the gateway chose the route."""
        assert gateway.client.get("//api//v1///users//7/").json()["path"] == "/api/v1/users/7/"
