from pathlib import Path

import pytest
from pytest_django import Settings

from bandstand.discovery import MemoryRegistry, active_registry, get_all_services, instances, use_registry
from bandstand.exceptions import ConfigurationError, UnknownService


def configure(settings: Settings, url: str) -> None:
    settings.BANDSTAND = {**settings.BANDSTAND, "DISCOVERY": {"URL": url}}


def test_the_url_chooses_the_registry(settings: Settings, tmp_path: Path) -> None:
    """DISCOVERY_URL's scheme decides who is asked, and a change of the setting is followed."""
    configure(settings, "static:user-service=http://a:1")
    assert [instance.url for instance in instances("user-service")] == ["http://a:1"]

    path = tmp_path / "registry.json"
    path.write_text('{"version": 1, "services": {"user-service": [{"id": "u", "url": "http://b:1"}]}}')
    configure(settings, path.as_uri())
    assert [instance.url for instance in instances("user-service")] == ["http://b:1"]


def test_the_registry_is_built_once(settings: Settings) -> None:
    """Calls share one registry, so that the list is kept in memory."""
    configure(settings, "static:user-service=http://a:1")
    assert active_registry() is active_registry()


def test_an_unknown_scheme_is_refused(settings: Settings) -> None:
    """A wrong DISCOVERY_URL is told with what may be written."""
    configure(settings, "carrier-pigeon://loft")
    with pytest.raises(ConfigurationError, match="'carrier-pigeon://loft'; write one of static:…, file:…"):
        active_registry()


def test_all_services_with_their_urls() -> None:
    """Every name is listed with its URLs; a service that is away has none."""
    with use_registry(MemoryRegistry({"a": ["http://a:1", "http://a:2"], "b": []})):
        assert get_all_services() == {"a": ["http://a:1", "http://a:2"], "b": []}


def test_a_registry_put_in_place_is_taken_away_again(settings: Settings) -> None:
    """After the block the configured registry holds, also when the block raised; blocks nest."""
    configure(settings, "static:real=http://a:1")
    with use_registry(MemoryRegistry({"outer": ["http://o:1"]})):
        with pytest.raises(UnknownService), use_registry(MemoryRegistry({"inner": ["http://i:1"]})):
            instances("outer")
        assert instances("outer")
    assert instances("real")
    with pytest.raises(UnknownService):
        instances("outer")
