"""What holds for every kind of registry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bandstand.discovery import Instance, MemoryRegistry, Registry, is_address
from bandstand.discovery.backends.file import FileRegistry
from bandstand.discovery.backends.static import StaticRegistry
from bandstand.exceptions import NoInstances, UnknownService

SERVICES = {"user-service": ["http://10.0.0.1:8000", "http://10.0.0.2:8000"], "order-service": ["https://orders.test"]}

Make = Callable[[dict[str, list[str]]], Registry]


def memory(services: dict[str, list[str]], _: Path) -> Registry:
    return MemoryRegistry(services)


def static(services: dict[str, list[str]], _: Path) -> Registry:
    return StaticRegistry("static:" + ",".join(f"{name}={url}" for name, urls in services.items() for url in urls))


def file(services: dict[str, list[str]], folder: Path) -> Registry:
    entries = {name: [{"id": url, "url": url} for url in urls] for name, urls in services.items()}
    path = folder / "registry.json"
    path.write_text(json.dumps({"version": 1, "services": entries}))
    return FileRegistry(path.as_uri())


@pytest.fixture(params=[memory, static, file], ids=["memory", "static", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda services: request.param(services, tmp_path)


def test_it_finds_every_instance(make: Make) -> None:
    """All instances of a service are found, in order, each with an id of its own."""
    found = make(SERVICES).instances("user-service")
    assert [instance.url for instance in found] == SERVICES["user-service"]
    assert len({instance.id for instance in found}) == 2


def test_it_lists_every_service(make: Make) -> None:
    """The whole list can be had."""
    assert set(make(SERVICES).services()) == set(SERVICES)


def test_an_unknown_service_is_refused_with_a_hint(make: Make) -> None:
    """A misspelled name is an error that names what was probably meant."""
    with pytest.raises(UnknownService, match=r"'user-servce'.*Did you mean user-service\?"):
        make(SERVICES).instances("user-servce")


def test_a_very_different_name_gets_the_list(make: Make) -> None:
    """Where nothing is near, all known names are told."""
    with pytest.raises(UnknownService, match="Known are: order-service, user-service"):
        make(SERVICES).instances("billing")


def test_an_empty_registry_knows_nobody(make: Make) -> None:
    """An empty list is no fault, until somebody is looked for."""
    registry = make({})
    assert registry.services() == {}
    with pytest.raises(UnknownService, match="Known are: none"):
        registry.instances("user-service")


def test_a_service_without_instances_is_not_unknown() -> None:
    """That a service is away is told apart from that there is no such service."""
    with pytest.raises(NoInstances, match="user-service"):
        MemoryRegistry({"user-service": []}).instances("user-service")


def test_unhealthy_instances_are_left_out() -> None:
    """Nobody is sent to an instance that is known to be ill."""

    class Clinic(Registry):
        def services(self) -> dict[str, tuple[Instance, ...]]:
            well = Instance(id="1", url="http://a:1")
            ill = Instance(id="2", url="http://b:1", healthy=False)
            return {"some": (ill, well), "none": (ill,)}

    assert [instance.id for instance in Clinic().instances("some")] == ["1"]
    with pytest.raises(NoInstances):
        Clinic().instances("none")


@pytest.mark.parametrize(
    "url",
    [
        "10.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://user:secret@host",
        "http://host/path",
        "http://host?x=1",
        "http://host#x",
        "http://host:port",
        "http://host:99999",
    ],
)
def test_only_scheme_host_and_port_make_an_instance(url: str) -> None:
    """An address with more or less than scheme, host and port is refused where it is read, not when it is called."""
    with pytest.raises(ValueError):
        MemoryRegistry({"user-service": [url]})


def test_a_slash_at_the_end_does_not_matter() -> None:
    """URL and path are joined without a second slash."""
    (instance,) = MemoryRegistry({"user-service": ["http://host:1/"]}).instances("user-service")
    assert instance.url == "http://host:1"


def test_addresses_are_told_from_names() -> None:
    """Who was found by address has to be asked by name."""
    assert [
        is_address(url) for url in ("http://10.0.0.1:1", "http://[::1]", "http://10.test", "http://user-service:1")
    ] == [
        True,
        True,
        False,
        False,
    ]
