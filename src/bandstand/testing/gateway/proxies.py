"""Whose word about a client is believed."""

import sys

import pytest

from bandstand.testing.gateway.base import PROXIES, GatewayRules, GatewayUnderTest, Trait

__all__ = ["ProxyConformance"]

_STRANGER = "127.0.0.7"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the whole of 127.0.0.0/8 without set-up")
class ProxyConformance(GatewayRules):
    """Whose word about a client is believed."""

    def test_clients_of_a_trusted_proxy_are_counted_apart(self, gateway: GatewayUnderTest) -> None:
        """Behind a load balancer one noisy client does not shut out all others."""

        def ask(client: str) -> int:
            return _status(gateway, "/api/orders/proxied/", client)

        assert [ask("203.0.113.1") for _ in range(3)] == [200, 200, 429]
        assert ask("203.0.113.2") == 200

    def test_a_network_of_ipv6_is_one_client(self, gateway: GatewayUnderTest) -> None:
        """A customer of a provider has 2**64 addresses; none of them is a new allowance."""
        self.needs(Trait.COUNTS_IPV6_NETWORKS)

        def ask(client: str) -> int:
            return _status(gateway, "/api/orders/ipv6/", client)

        statuses = [ask(f"2001:db8:1:2:{number:x}::{number:x}") for number in range(1, 301)]
        assert statuses == [200] * 2 + [429] * 298
        assert ask("2001:db8:1:3::1") == 200

    def test_mapped_addresses_are_told_apart(self, gateway: GatewayUnderTest) -> None:
        """IPv4 addresses that a proxy writes in IPv6 form are all in one /64 network, and are many clients."""
        self.needs(Trait.COUNTS_IPV6_NETWORKS)

        def ask(client: str) -> int:
            return _status(gateway, "/api/orders/mapped/", client)

        assert [ask("::ffff:203.0.113.8") for _ in range(3)] == [200, 200, 429]
        assert ask("::ffff:203.0.113.9") == 200

    def test_a_forged_mapped_address_is_no_new_allowance(self, gateway: GatewayUnderTest) -> None:
        """An address that a client writes before its own does not change how its own is counted."""
        self.needs(Trait.COUNTS_IPV6_NETWORKS)

        def ask(number: int) -> int:
            return _status(gateway, "/api/orders/forged-mapped/", f"::ffff:203.0.113.{number}, 2001:db8:7::{number:x}")

        assert [ask(number) for number in range(1, 5)] == [200, 200, 429, 429]

    def test_the_client_is_the_last_that_is_no_proxy(self, gateway: GatewayUnderTest) -> None:
        """What a client writes before its own address is no new allowance, through however many proxies it came."""

        def ask(forged: str) -> int:
            return _status(gateway, "/api/orders/behind-proxies/", f"{forged}, 203.0.113.3, {PROXIES[1]}")

        assert [ask(f"198.51.100.{number}") for number in range(4)] == [200, 200, 429, 429]

    def test_a_stranger_is_not_believed(self, gateway: GatewayUnderTest) -> None:
        """Who reaches the gateway past the load balancer is counted by the connection, and claims no encryption."""

        def ask(number: int) -> int:
            return _status(gateway, "/api/orders/no-proxy/", f"203.0.113.{number}", source=_STRANGER)

        assert [ask(number) for number in range(4)] == [200, 200, 429, 429]
        answer = gateway.client.get("/api/users/", headers={"X-Forwarded-Proto": "https"}, source=_STRANGER)
        assert answer.received("x-forwarded-proto") == ["http"]

    def test_the_service_learns_of_the_client(self, gateway: GatewayUnderTest) -> None:
        """It reads from the right: the proxy, then whom the proxy saw; and the scheme by which the proxy was asked."""
        headers = {"X-Forwarded-For": "203.0.113.4", "X-Forwarded-Proto": "https"}
        answer = gateway.client.get("/api/users/", headers=headers, source=PROXIES[0])
        [addresses] = answer.received("x-forwarded-for")
        assert [address.strip() for address in addresses.split(",")] == ["203.0.113.4", PROXIES[0]]
        assert answer.received("x-forwarded-proto") == ["https"]

    def test_a_trusted_proxy_steers_nothing_else(self, gateway: GatewayUnderTest) -> None:
        """Internal headers are taken out, and headers that steer the gateway are not obeyed, whoever sends them."""
        headers = {"X-Service-Token": "spoofed", "Forwarded": "for=spoofed", "X-Envoy-Max-Retries": "9"}
        answer = gateway.client.get("/api/users/", headers=headers, source=PROXIES[0])
        assert "spoofed" not in str(answer.json()["headers"])


def _status(gateway: GatewayUnderTest, path: str, forwarded_for: str, *, source: str = PROXIES[0]) -> int:
    headers = {"X-Forwarded-For": forwarded_for}
    return gateway.client.get(path, headers=headers, source=source).status
