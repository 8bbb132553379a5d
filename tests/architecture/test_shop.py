"""The shop's services are alike where they should be, and its page tells what they do."""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "shop"
PAGE = (ROOT / "docs" / "explanation" / "shop.md").read_text()
SERVICES = {"user": "users", "product": "products", "order": "orders", "notification": "notifications"}
PATTERNS = [name for name in SERVICES if name != "user"]

EVENT = re.compile(r'^class (\w+)\(Event, type="([\w.]+)"', re.MULTILINE)
SUBSCRIPTION = re.compile(r'^@subscribe\("([\w.]+)", source="([\w-]+)"\)', re.MULTILINE)
ROW = re.compile(r"^\| `([\w.]+)` \| ([\w-]+) \| ([\w, -]+) \|$", re.MULTILINE)


class Spoken(NamedTuple):
    """That one service hears of another."""

    type: str
    source: str
    hearer: str


def generic(name: str, path: str) -> str:
    """Return a file of a service with its names replaced by placeholders."""
    text = (SHOP / f"{name}-service" / path.format(name=name)).read_text()
    app = SERVICES[name]
    for own, placeholder in ((app, "APP"), (app.capitalize(), "App"), (name, "NAME"), (name.capitalize(), "Name")):
        text = re.sub(rf"(?<![a-z]){own}(?![a-z])", placeholder, text)
    return text


def heard() -> set[Spoken]:
    found = set()
    for name, app in SERVICES.items():
        text = (SHOP / f"{name}-service" / app / "events.py").read_text()
        found |= {Spoken(kind, source, f"{name}-service") for kind, source in SUBSCRIPTION.findall(text)}
        assert text.count("@subscribe(") == len(SUBSCRIPTION.findall(text)), "a subscription without a source"
    return found


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("path", ["manage.py", "{name}_service/wsgi.py"])
def test_the_ways_in_are_the_same(name: str, path: str) -> None:
    """What starts a service differs by its name alone."""
    assert generic(name, path) == generic("order", path)


@pytest.mark.parametrize("name", PATTERNS)
def test_the_urls_are_the_same(name: str) -> None:
    """Three services answer at the same places; the user service also shows keys and, in development, a sign-in."""
    assert generic(name, "{name}_service/urls.py") == generic("order", "{name}_service/urls.py")


@pytest.mark.parametrize("name", SERVICES)
def test_the_settings_have_one_shape(name: str) -> None:
    """Every line of the settings that two other services share is in each."""
    lines = {other: set(generic(other, "{name}_service/settings.py").splitlines()) for other in SERVICES}
    shared = {
        line for other in SERVICES for line in lines[other] if sum(line in each for each in lines.values()) >= 3
    }  # fmt: skip
    assert len(shared) > 25
    assert shared - lines[name] - {'    "django_filters",'} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_the_projects_use_their_tools_alike(name: str) -> None:
    """Tests and style of all services have the same options."""

    def tools(service: str) -> dict[str, Any]:
        tool: dict[str, Any] = tomllib.loads(generic(service, "pyproject.toml"))["tool"]
        return tool

    assert tools(name) == tools("order")


def test_every_event_is_said_by_the_one_who_is_believed() -> None:
    """A handler that names a service as its source waits for something that this service publishes."""
    for spoken in heard():
        name = spoken.source.removesuffix("-service")
        events = (SHOP / spoken.source / SERVICES[name] / "events.py").read_text()
        own = {kind for _, kind in EVENT.findall(events)}
        assert spoken.type in own, spoken
        published = re.findall(r"publish\(\s*(\w+)\(", events)
        assert any(cls in published for cls, kind in EVENT.findall(events) if kind == spoken.type), spoken


def test_the_page_names_every_event() -> None:
    """The table of events says who says what and who hears it, as the code does."""
    told = {
        Spoken(kind, source, hearer) for kind, source, hearers in ROW.findall(PAGE) for hearer in hearers.split(", ")
    }
    assert told == heard()
