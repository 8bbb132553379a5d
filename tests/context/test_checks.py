from pytest_django import Settings

from bandstand.context.checks import check_context

TRACKING = "bandstand.context.RequestTrackingMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"


def found(settings: Settings, middleware: list[str], *proxies: str) -> list[str]:
    settings.MIDDLEWARE = middleware
    settings.BANDSTAND = settings.BANDSTAND | {"CONTEXT": {"TRUSTED_PROXIES": proxies}}
    return [message.id.rpartition(".")[2] for message in check_context() if message.id]


def test_a_sound_configuration_has_no_faults(settings: Settings) -> None:
    """The middleware first and networks that are networks."""
    assert found(settings, [TRACKING, COMMON], "127.0.0.0/8", "::1", "10.1.2.3") == []


def test_requests_are_tracked_from_the_beginning(settings: Settings) -> None:
    """A middleware that is missing or not first is told."""
    assert found(settings, [COMMON]) == ["W001"]
    assert found(settings, [COMMON, TRACKING]) == ["W002"]


def test_proxies_are_networks_and_not_everybody(settings: Settings) -> None:
    """Names are no networks, and to trust everybody is to trust nobody's address."""
    assert found(settings, [TRACKING], "gateway") == ["E001"]
    assert found(settings, [TRACKING], "0.0.0.0/0", "::/0") == ["W003", "W003"]


def test_a_whole_private_network_is_no_proxy(settings: Settings) -> None:
    """Trusting a whole private range gives a warning, since clients have such addresses too."""
    assert found(settings, [TRACKING], "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7") == ["W004"] * 4
    assert found(settings, [TRACKING], "10.20.0.0/16", "172.16.0.2/32") == []
