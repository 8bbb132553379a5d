"""The reference page says what the code does."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from bandstand.workspace.manifest import parse, tables
from bandstand.workspace.manifest.model import RateLimit
from bandstand.workspace.manifest.tables import RateLimitTable, Table

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "manifest.md").read_text()
SHOP = Path(__file__).parents[2] / "shop" / "bandstand.toml"


def documented(heading: str) -> dict[str, str]:
    """The keys of the first table of a section, with what their column for the default holds."""
    section = PAGE.split(f"## `{heading}`\n")[1].split("\n## ")[0].split("\n\nWhat a path")[0]
    return dict(re.findall(r"^\| `([a-z_]+)` \| (?:`(.*?)`)? *\|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("[platform]", tables.PlatformTable),
        ("[gateway]", tables.GatewayTable),
        ("[servers]", tables.ServersTable),
        ("[production]", tables.ProductionTable),
        ("[production.image]", tables.ImageTable),
        ("[production.images]", tables.ImagesTable),
        ("[production.kong]", tables.KongTable),
        ("[production.envoy]", tables.EnvoyTable),
        ("[services.NAME]", tables.ServiceTable),
        ("[[services.NAME.routes]]", tables.RouteTable),
    ],
)
def test_every_key_is_documented_with_its_default(heading: str, table: type[Table]) -> None:
    """A key that is added or a default that changes is written down."""
    keys = documented(heading)
    fields = {field.name: field.default for field in msgspec.structs.fields(table)}
    assert list(keys) == [
        name
        for name, default in fields.items()
        if not isinstance(default, tables.Table) or isinstance(default, RateLimitTable)
    ]
    for key, text in keys.items():
        if text and fields[key] != RateLimitTable():
            assert msgspec.convert(tomllib.loads(f"value = {text}")["value"], type(fields[key])) == fields[key]


def test_the_documented_limit_is_the_default() -> None:
    """100 a minute and 1,000 an hour."""
    assert tomllib.loads(f"value = {documented('[gateway]')['rate_limit']}")["value"] == msgspec.to_builtins(
        RateLimit()
    )


def test_the_example_is_a_manifest() -> None:
    """What a reader copies works."""
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse(example).service_names == ("user-service", "order-service")


def test_the_example_in_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines work as printed, in the repository itself."""
    monkeypatch.chdir(SHOP.parents[1])
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "manifest.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1] == "('user-service',)"


def test_the_shop_is_a_manifest() -> None:
    """The platform that the documentation speaks of has four services, one of which issues tokens."""
    workspace = parse(SHOP.read_text())
    assert workspace.service_names == ("user-service", "product-service", "order-service", "notification-service")
    assert workspace.token_issuer is workspace.service("user-service")
    assert all(service.routes for service in workspace.services)
