import pytest

from bandstand.discovery.backends.static import StaticRegistry
from bandstand.exceptions import ConfigurationError


def test_all_faults_are_told_at_once() -> None:
    """Every part that is wrong is named, so that one repair is enough."""
    with pytest.raises(ConfigurationError) as caught:
        StaticRegistry("static:user-service,order-service=ftp://x,=http://a,ok=http://b:1")
    assert len(caught.value.faults) == 3
    assert all(fault.startswith("DISCOVERY_URL: ") for fault in caught.value.faults)


def test_spaces_and_empty_parts_do_not_matter() -> None:
    """The list may be written over several lines of a YAML file."""
    registry = StaticRegistry("static: a = http://a:1 ,\n b=http://b:1, ")
    assert {name: known[0].url for name, known in registry.services().items()} == {"a": "http://a:1", "b": "http://b:1"}
