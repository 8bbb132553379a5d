import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings

from bandstand.context import client_ip, client_network

PROXIES = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "fd00::/8")


@pytest.fixture(autouse=True)
def _proxies(settings: Settings) -> None:
    settings.BANDSTAND = settings.BANDSTAND | {"CONTEXT": {"TRUSTED_PROXIES": PROXIES}}


def request(peer: str, forwarded: str | None = None) -> HttpRequest:
    made = RequestFactory(REMOTE_ADDR=peer).get("/")
    if forwarded is not None:
        made.META["HTTP_X_FORWARDED_FOR"] = forwarded
    return made


def ip(peer: str, forwarded: str | None = None) -> str:
    return client_ip(request(peer, forwarded))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "6.6.6.6", "192.0.2.7"),  # a stranger says who he is: not believed
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the client wrote the left one
        ("127.0.0.1", "6.6.6.6,198.51.100.1 , 10.1.2.3", "198.51.100.1"),  # two proxies of ours
        ("127.0.0.1", "10.0.0.5, 10.0.0.6", "10.0.0.5"),  # a client inside
        ("127.0.0.1", "6.6.6.6, garbage", "127.0.0.1"),
        ("127.0.0.1", "6.6.6.6,,", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1:5000", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", "2001:DB8:0:0::1", "2001:db8::1"),  # one client, one spelling
        ("127.0.0.1", "fe80::1%eth0", "127.0.0.1"),  # a zone is text of the sender's choice
        ("127.0.0.1", "1" * 10_000, "127.0.0.1"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::1", "fd00::5, 2001:db8::2, fd00::9", "2001:db8::2"),
        ("", None, "unknown"),
        ("", "198.51.100.1", "unknown"),
        ("testserver", "198.51.100.1", "unknown"),
    ],
)
def test_the_client_is_the_first_hop_that_is_no_proxy_of_ours(peer: str, forwarded: str | None, client: str) -> None:
    """X-Forwarded-For is read from the right, and only as far as proxies that we trust have written it."""
    assert ip(peer, forwarded) == client


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("::ffff:192.0.2.7", None, "192.0.2.7"),
        ("::ffff:c000:207", None, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", None, "2001:db8:1:3::/64"),
        ("127.0.0.1", "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("", None, "unknown"),
    ],
)
def test_limits_count_ipv6_by_the_network_of_a_customer(peer: str, forwarded: str | None, network: str) -> None:
    """An IPv6 address counts as its /64 network, and an IPv4 address, also in IPv6 form, as itself."""
    assert client_network(request(peer, forwarded)) == network


def test_a_long_list_costs_little() -> None:
    """Only the last 32 hops are looked at."""
    assert ip("127.0.0.1", ",".join(["6.6.6.6"] + ["10.0.0.1"] * 10_000)) == "10.0.0.1"


def test_without_trusted_proxies_no_header_is_believed(settings: Settings) -> None:
    """An empty list means the peer, always."""
    settings.BANDSTAND = settings.BANDSTAND | {"CONTEXT": {"TRUSTED_PROXIES": ()}}
    assert ip("127.0.0.1", "198.51.100.1") == "127.0.0.1"
