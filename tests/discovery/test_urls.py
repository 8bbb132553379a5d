import pytest

from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.active import _registry
from bandstand.discovery.addresses import masked
from bandstand.discovery.backends.consul import ConsulAgent, ConsulRegistry
from bandstand.discovery.backends.dns import DnsRegistry
from bandstand.exceptions import ConfigurationError


def faults(make: type, url: str, **options: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        make(url, **options)
    assert all(fault.startswith("DISCOVERY_URL: ") for fault in caught.value.faults)
    return list(caught.value.faults)


def test_consul_with_everything() -> None:
    """Host, port, token, datacenter, tags and TLS stand in the URL."""
    agent = ConsulAgent("consul://s3cret@consul.test:8501/?dc=eu&tag=blue&tag=shop&scheme=https&ca=/etc/ca.pem")
    assert (agent.host, agent.port, agent.scheme, agent.datacenter) == ("consul.test", 8501, "https", "eu")
    assert agent.tags == ("blue", "shop")
    assert (ConsulAgent("consul://[::1]").host, ConsulAgent("consul://host").port) == ("::1", 8500)


def test_the_token_is_never_shown() -> None:
    """Neither the agent, nor the settings, nor the text of a fault repeats the token."""
    url = "consul://s3cret@consul.test"
    shown = [repr(ConsulAgent(url)), repr(DiscoverySettings(url=url, token="s3cret")), masked(url)]
    shown += faults(ConsulAgent, f"{url}:x/path?dc=1&dc=2&unknown=1")
    shown += faults(ConsulAgent, url, token="another")
    with pytest.raises(ConfigurationError) as caught:
        _registry(DiscoverySettings(url="consular://s3cret@host"))
    assert not [text for text in [*shown, str(caught.value)] if "s3cret" in text]


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("consul://", 1),
        ("consul://host:99999/path?tags=x&scheme=ftp", 4),
        ("consul://user:password@host", 1),
        ("consul://host/?ca=/ca.pem", 1),
        ("consul://host/?dc=a&dc=b", 1),
        ("consul://one,two", 1),
        ("consul://[host", 2),
    ],
)
def test_all_faults_of_consul_are_told_at_once(url: str, count: int) -> None:
    """Each part that is wrong is a sentence of its own."""
    assert len(faults(ConsulAgent, url)) == count


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("dns://", 1),  # neither port nor srv
        ("dns://?port=0", 1),
        ("dns://?port=80&srv=_http._tcp", 1),
        ("dns://coredns:53/?port=80", 1),
        ("dns://10.0.0.10:x,10.0.0.256/?prot=80", 4),
        ("dns://token@10.0.0.10,[fd00::x]/?port=80", 2),
        ("dns://token@10.0.0.10/?port=80&scheme=ftp", 2),
        ("dns://?port=80&suffix=a..b", 1),
    ],
)
def test_all_faults_of_dns_are_told_at_once(url: str, count: int) -> None:
    """Each part that is wrong is a sentence of its own."""
    assert len(faults(DnsRegistry, url)) == count


@pytest.mark.parametrize(
    "url",
    [
        "dns://?port=8000",
        "dns://?suffix=.shop.svc.cluster.local&port=8000",
        "dns://10.0.0.10:53,[fd00::10]:5353/?srv=_http._tcp&suffix=shop.test&scheme=https",
        "dns://[fd00::10]:5353,10.0.0.10?port=8000",
        "dns://127.0.0.1:8600/?srv=&suffix=.service.consul",
        "consul://10.0.0.10",
    ],
)
def test_what_the_pages_say_is_accepted(url: str) -> None:
    """The forms on the pages make a registry, and nothing is asked before somebody calls."""
    assert isinstance(_registry(DiscoverySettings(url=url)), DnsRegistry | ConsulRegistry)
