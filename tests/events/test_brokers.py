import pytest

from bandstand.events.brokers import Broker, BrokerOptions, build_broker
from bandstand.events.brokers.memory import MemoryBroker
from bandstand.events.brokers.nats.names import Names
from bandstand.exceptions import ConfigurationError
from bandstand.testing.broker_conformance import BrokerConformance

OPTIONS = BrokerOptions(platform="shop", service="order-service")


class TestMemoryBroker(BrokerConformance):
    lease = 0.01

    def build(self, options: BrokerOptions) -> Broker:
        return MemoryBroker("memory://conformance", options)


def test_the_scheme_chooses_the_broker() -> None:
    """memory://, nats:// and amqp:// are built in; a dotted path names a class of one's own."""
    assert type(build_broker("memory://", OPTIONS)) is MemoryBroker
    assert type(build_broker("nats://a:b@localhost:1", OPTIONS)).__name__ == "NatsBroker"
    assert type(build_broker("amqp://a:b@localhost:1/%2F", OPTIONS)).__name__ == "RabbitMqBroker"
    path = "bandstand.events.brokers.memory.MemoryBroker"
    assert type(build_broker(f"{path}://x", OPTIONS)) is MemoryBroker


@pytest.mark.parametrize("url", ["redis://localhost", "kafka://x", "", "nats", "no.such.module.Broker://x"])
def test_an_unknown_broker_is_a_fault_of_the_configuration(url: str) -> None:
    """A URL that names no broker says which there are."""
    with pytest.raises(ConfigurationError, match="BROKER_URL begins with"):
        build_broker(url, OPTIONS)


def test_names_are_those_of_the_platform_s_permissions() -> None:
    """Subjects, streams and consumers are called what the server's permissions are written for."""
    names = Names(platform="shop", service="order-service")
    assert names.stream == "shop-events"
    assert names.inbound == "shop-events-order-service"
    assert names.inbox_prefix == b"_INBOX.order-service"
    assert names.subject("order.placed") == "shop.events.order-service.order.placed"
    assert names.filter("order.*") == "shop.events.*.order.*"
    assert names.durable("orders.reserve_stock") == "order-service__orders-reserve_stock"


@pytest.mark.parametrize("service", ["order.service", "order service", "*", ">", ""])
def test_a_name_that_would_widen_a_subject_is_refused(service: str) -> None:
    """A service can't be called so that its subject is another's."""
    with pytest.raises(ConfigurationError, match="in NATS"):
        Names(platform="shop", service=service)
