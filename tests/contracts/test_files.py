import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.contracts import (
    Event,
    Platform,
    asyncapi,
    baseline,
    check,
    collect,
    render,
    stale,
    write,
)
from bandstand.workspace.manifest import load

from .conftest import consumption, platform, publication, service, view

SHOP = Path(__file__).parents[2] / "shop"
SPECIFICATION = json.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_text())


class Node(msgspec.Struct):
    children: "list[Node]"
    pair: tuple[int, str]


class Placed(msgspec.Struct):
    """Somebody ordered."""

    order_id: str
    tree: Node | None = None


class Reading(msgspec.Struct):
    order_id: str


PLATFORM = platform(
    service("order-service", publication(Placed), publication(Reading, version=2)),
    service(
        "product-service",
        consumes=(consumption(view(Placed), view(Reading, 2)), consumption(view(Reading, None), pattern="order.*")),
    ),
)


@pytest.fixture(scope="module")
def shop() -> Platform:
    return collect(load(SHOP / "bandstand.toml"))


def test_the_shop_keeps_its_contracts(shop: Platform) -> None:
    """shop/contracts is what the services say now, and every consumer can read what is published."""
    assert [finding.message for finding in stale(render(shop), SHOP / "contracts")] == []
    assert [finding.message for finding in check(shop, {})] == []


def test_the_shop_says_what_it_does(shop: Platform) -> None:
    """What a service handles itself is published too; what it only reads is not."""
    assert {(each.service, publication.type) for each, publication in shop.publications()} == {
        ("user-service", "user.created"),
        ("user-service", "session.ended"),
        ("order-service", "order.placed"),
        ("order-service", "order.confirmed"),
        ("order-service", "order.rejected"),
        ("order-service", "order.cancelled"),
        ("product-service", "stock.reserved"),
        ("product-service", "stock.rejected"),
        ("notification-service", "notification.queued"),
    }


def test_a_service_that_can_not_answer_is_named(tmp_path: Path) -> None:
    """With what it said instead."""
    for name in ("bandstand.toml", "user-service", "product-service", "order-service", "notification-service"):
        copy = shutil.copytree if (SHOP / name).is_dir() else shutil.copy
        copy(SHOP / name, tmp_path / name)
    (tmp_path / "order-service" / "orders" / "events.py").write_text("raise RuntimeError('no events today')")
    with pytest.raises(WorkspaceError, match="order-service was asked") as raised:
        collect(load(tmp_path / "bandstand.toml"))
    assert "no events today" in raised.value.hint


@pytest.mark.parametrize("document", [asyncapi(PLATFORM), json.loads((SHOP / "contracts/asyncapi.json").read_text())])
def test_the_document_is_asyncapi(document: dict[str, Any]) -> None:
    """Valid by the specification's own schema, and every reference in it leads somewhere."""
    jsonschema.Draft7Validator(SPECIFICATION).validate(document)
    text = json.dumps(document)
    for part in text.split('"$ref": "#/')[1:]:
        found: Any = document
        for key in part.partition('"')[0].split("/"):
            found = found[key]
        assert found


def test_a_wrong_document_is_not_asyncapi() -> None:
    """The schema above notices what is misspelt."""
    document = asyncapi(PLATFORM)
    document["channels"]["nats.order.placed"]["adress"] = "x"
    assert not jsonschema.Draft7Validator(SPECIFICATION).is_valid(document)


def test_channels_are_where_the_brokers_have_them() -> None:
    """The addresses are those that the service's own broker uses."""
    channels = asyncapi(PLATFORM)["channels"]
    assert channels["nats.order.placed"]["address"] == "shop.events.order-service.order.placed"
    rabbitmq = channels["rabbitmq.order.placed"]
    assert rabbitmq["address"] == "order-service.order.placed"
    assert rabbitmq["bindings"]["amqp"]["exchange"]["name"] == "shop.events"
    assert list(rabbitmq["messages"]) == ["order.placed.v1", "order.placed.v2"]


def test_an_event_is_valid_by_the_document() -> None:
    """A message as it travels is valid by its payload in the document."""
    document = asyncapi(PLATFORM)
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "order-service",
        "type": "order.placed",
        "dataschema": "bandstand:order.placed/1",
        "data": {"order_id": "1", "tree": {"children": [], "pair": [1, "x"]}},
    }
    payload = {**document["components"]["messages"]["order.placed.v1"]["payload"], "components": document["components"]}
    validator = jsonschema.Draft7Validator(payload)
    validator.validate(event)
    assert not validator.is_valid({**event, "data": {"order_id": "1", "tree": {"children": [], "pair": ["x", 1]}}})
    assert not validator.is_valid({**event, "source": "user-service"})


def test_both_forms_say_the_same_and_never_change() -> None:
    """YAML is the JSON without its mark; the same platform gives the same bytes."""
    files = {file.path.name: file.content for file in render(PLATFORM)}
    document = json.loads(files["asyncapi.json"])
    document.pop("x-comment")
    assert yaml.safe_load(files["asyncapi.yaml"]) == document
    assert {file.path.name: file.content for file in render(PLATFORM)} == files
    assert all("Written by `bandstand contracts write`" in content for content in files.values())


def test_writing_deletes_only_what_was_written(tmp_path: Path) -> None:
    """A contract of an event that is gone goes too; a file of somebody else stays."""
    own = tmp_path / "README.json"
    own.write_text("{}")
    changed, gone = write(render(PLATFORM), tmp_path)
    assert {path.name for path in changed} >= {"order.placed.v1.json", "order.placed.v2.json"}
    assert write(render(PLATFORM), tmp_path) == ([], [])
    smaller = platform(service("order-service", publication(Placed)))
    _, gone = write(render(smaller), tmp_path)
    assert {path.name for path in gone} == {"order.placed.v2.json", "product-service.consumes.json"}
    assert own.exists()


def test_stale_files_are_told(tmp_path: Path) -> None:
    """What is missing, what differs, and what is left over."""
    write(render(PLATFORM), tmp_path)
    assert list(stale(render(PLATFORM), tmp_path)) == []
    (tmp_path / "order.placed.v1.json").unlink()
    (tmp_path / "asyncapi.yaml").write_text("# by hand\n")
    (tmp_path / "order.gone.v1.json").write_bytes((tmp_path / "order.placed.v2.json").read_bytes())
    assert sorted(Path(finding.file or "").name for finding in stale(render(PLATFORM), tmp_path)) == [
        "asyncapi.yaml",
        "order.gone.v1.json",
        "order.placed.v1.json",
    ]


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_promises_are_those_of_a_commit(tmp_path: Path) -> None:
    """HEAD's, not those in the working tree; another commit's where it is named."""
    contracts = tmp_path / "shop" / "contracts"
    write(render(platform(service("order-service", publication(Placed)))), contracts)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "tag", "released")
    write(render(PLATFORM), contracts)
    assert set(baseline(contracts, None).promises) == {Event(type="order.placed", version=1)}
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "second")
    assert set(baseline(contracts, None).promises) == {Event(type="order.placed", version=n) for n in (1, 2)}
    assert set(baseline(contracts, "released").promises) == {Event(type="order.placed", version=1)}
    assert check(PLATFORM, baseline(contracts, "released").promises) == ()
    with pytest.raises(WorkspaceError, match="git does not know 'nowhere'"):
        baseline(contracts, "nowhere")


def test_outside_of_git_the_folder_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promises are what contracts/ says; what is broken by hand is none."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    contracts = tmp_path / "contracts"
    write(render(PLATFORM), contracts)
    (contracts / "order.placed.v2.json").write_text("{ Written by `bandstand contracts write`")
    found = baseline(contracts, None)
    assert (found.name, set(found.promises)) == ("contracts/", {Event(type="order.placed", version=1)})
