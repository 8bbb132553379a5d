import json
import logging
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import jsonschema
import msgspec
import pytest
from django.core.management import call_command
from django.db import transaction

from bandstand.events import Event, publish, publishes
from bandstand.events.contracts import describe
from bandstand.events.envelope import decode
from bandstand.events.publications import Publications
from bandstand.events.schemas import schema_of
from bandstand.events.subscriptions import Subscription
from bandstand.exceptions import ConfigurationError, InvalidEvent

from .conftest import UserCreated, body_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Pair(NamedTuple):
    left: int
    right: str = ""


class Loose(TypedDict, total=False):
    note: str


@dataclass
class Address:
    street: str


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    name: str


class Tree(msgspec.Struct):
    """A tree."""

    children: "list[Tree]"


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    only: bool


class Everything(Event, type="all.happened", version=3):
    """All of it.

    And more.
    """

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=9, pattern="^a")]
    number: Annotated[int, msgspec.Meta(ge=1, lt=10, multiple_of=2)]
    ratio: Annotated[float, msgspec.Meta(gt=0)]
    blob: Annotated[bytes, msgspec.Meta(max_length=4)]
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    maybe_at: datetime
    naive_at: Annotated[time, msgspec.Meta(tz=False)]
    day: date
    span: timedelta
    key: uuid.UUID
    price: Decimal
    colours: set[Colour]
    level: Level
    kind: Literal["b", "a", 1, None]
    point: Point
    pair: Pair
    loose: Loose
    address: Address
    pet: Cat | Dog | None
    tree: Tree
    strict: Strict
    both: tuple[int, str]
    by_id: dict[uuid.UUID, int]
    by_number: dict[int, str]
    by_colour: dict[Colour, int]
    anything: Any
    flag: bool = True
    tags: list[str] = []  # noqa: RUF012 - msgspec copies it
    absent: int | msgspec.UnsetType = msgspec.UNSET


def _everything(**changes: Any) -> Everything:
    values: dict[str, Any] = {
        "text": "ab",
        "number": 2,
        "ratio": 0.5,
        "blob": b"abc",
        "at": datetime.fromisoformat("2030-01-02T03:04:05+00:00"),
        "maybe_at": datetime.fromisoformat("2030-01-02T03:04:05"),
        "naive_at": time(1, 2),
        "day": date(2030, 1, 2),
        "span": timedelta(days=1),
        "key": uuid.UUID(int=1),
        "price": Decimal("1.50"),
        "colours": {Colour.RED},
        "level": Level.LOW,
        "kind": "a",
        "point": Point(x=1),
        "pair": Pair(1),
        "loose": {},
        "address": Address(street="s"),
        "pet": Cat(lives=9),
        "tree": Tree(children=[Tree(children=[])]),
        "strict": Strict(only=True),
        "both": (1, "x"),
        "by_id": {uuid.UUID(int=1): 1},
        "by_number": {-1: "x"},
        "by_colour": {Colour.BLUE: 1},
        "anything": None,
    }
    return Everything(**{**values, **changes})


def test_an_event_is_valid_by_its_schema() -> None:
    """The schema is JSON Schema 2020-12, and what is published is valid by it."""
    schema = schema_of(Everything)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(msgspec.json.encode(_everything())), schema, jsonschema.Draft202012Validator)


def test_a_schema_says_what_the_class_says() -> None:
    """Formats, time zones, bounds, keys, tags, defaults and docstrings are in the schema."""
    schema = schema_of(Everything)
    fields = schema["properties"]
    assert schema["title"] == "Everything"
    assert schema["description"] == "All of it.\n\nAnd more."
    assert fields["text"] == {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"}
    assert fields["number"] == {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2}
    assert fields["blob"] == {"type": "string", "contentEncoding": "base64", "maxLength": 8}
    assert fields["at"] == {"type": "string", "format": "date-time"}
    assert fields["maybe_at"] == {"type": "string", "format": "any-date-time"}
    assert fields["naive_at"] == {"type": "string", "format": "partial-time"}
    assert fields["kind"] == {"enum": [None, 1, "a", "b"]}
    assert fields["pet"]["discriminator"] == {"propertyName": "type"}
    assert fields["by_id"]["propertyNames"] == {"format": "uuid"}
    assert fields["flag"] == {"type": "boolean", "default": True}
    assert fields["tags"]["default"] == []
    assert {"flag", "tags", "absent"}.isdisjoint(schema["required"])
    assert schema["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Strict"]["additionalProperties"] is False


def test_msgspec_says_the_same_where_it_says_anything() -> None:
    """Every constraint of msgspec's own schema is in ours."""
    ours, theirs = schema_of(Everything), msgspec.json.schema(Everything)
    for name, field in theirs["$defs"]["Everything"]["properties"].items():
        if "anyOf" not in field:
            assert {key: value for key, value in field.items() if key != "propertyNames"}.items() <= (
                ours["properties"][name].items()
            )


def test_a_field_without_a_json_form_is_refused() -> None:
    """The error names the class."""

    class Odd(Event, type="odd.happened"):
        value: complex

    with pytest.raises(ConfigurationError, match=r"Odd has no JSON Schema.*complex"):
        schema_of(Odd)


def test_classes_of_one_name_are_kept_apart() -> None:
    """Two structs called alike are two definitions."""

    def make(kind: type[Any]) -> type[Any]:
        return msgspec.defstruct("Item", [("value", kind)])

    schema = schema_of(msgspec.defstruct("Both", [("a", make(int)), ("b", make(str))]))
    assert sorted(schema["$defs"]) == ["Item", "Item2"]
    assert schema["$defs"]["Item2"]["properties"] == {"value": {"type": "string"}}


@pytest.mark.django_db
@pytest.mark.parametrize("changes", [{"number": 3}, {"text": ""}, {"key": "no uuid"}, {"level": 7}])
def test_what_the_class_does_not_allow_is_not_published(changes: dict[str, Any]) -> None:
    """A contract that the publisher itself breaks would be none, so publish() refuses before the row is written."""
    with transaction.atomic(), pytest.raises(InvalidEvent, match="does not hold what its class says"):
        publish(_everything(**changes), key="1")
    with transaction.atomic():
        publish(_everything(), key="1")


class Seen(Event, type="user.created", version=1):
    user_id: str


class SeenSecond(Event, type="user.created", version=2):
    id: int


def test_a_handler_reads_several_versions_under_one_name() -> None:
    """Each version is read through its own view; inbox and retries stay those of the one subscription."""

    def handler(event: Seen | SeenSecond) -> None: ...

    subscription = Subscription(name="x", pattern="user.created", handler=handler)
    assert subscription.decode(*decode(body_of(UserCreated(user_id="1")))) == Seen(user_id="1")
    assert subscription.decode(*decode(body_of(SeenSecond(id=2)))) == SeenSecond(id=2)

    class Third(Event, type="user.created", version=3):
        x: int

    with pytest.raises(InvalidEvent, match="version 3, but Seen reads 1 and SeenSecond reads 2"):
        subscription.decode(*decode(body_of(Third(x=1))))


def test_two_views_of_one_version_are_a_mistake() -> None:
    """Nobody could say which of them is meant."""

    def handler(event: Seen | UserCreated) -> None: ...

    with pytest.raises(ConfigurationError, match="several views of one version"):
        Subscription(name="x", pattern="user.created", handler=handler)


def test_contracts_say_what_is_published_and_read() -> None:
    """By type and by name, with the schema of each class, and in an order of their own."""

    def late(event: dict) -> None: ...  # type: ignore[type-arg]

    def early(event: Seen | SeenSecond) -> None: ...

    subscriptions = [
        Subscription(name="z", pattern="order.*", handler=late),
        Subscription(name="a", pattern="user.created", handler=early),
    ]
    contracts = describe([UserCreated], subscriptions)
    assert contracts.service == "test-service"
    (publication,) = contracts.publishes
    assert (publication.type, publication.version, publication.name) == ("user.created", 1, "UserCreated")
    assert [each.subscription for each in contracts.consumes] == ["a", "z"]
    assert [view.version for view in contracts.consumes[0].views] == [1, 2]
    assert contracts.consumes[1].views[0].version is None


def test_a_version_has_one_class() -> None:
    """Two classes of one type and version are an error that names both."""
    with pytest.raises(ConfigurationError, match=r"UserCreated and .*Seen are both version 1"):
        describe([UserCreated, Seen], [])


def test_what_apps_declare_is_published_unless_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that a subscription reads is a view; @publishes makes it a publication too."""
    monkeypatch.setattr("bandstand.events.publications._is_ours", lambda kind: kind in {UserCreated, Seen})
    publications = Publications()
    publications.settle([Seen])
    assert list(publications) == [UserCreated]
    publications.declare(Seen)
    assert set(publications) == {UserCreated, Seen}


def test_publishing_what_no_contract_knows_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log says what to write; before the apps are imported, nothing is known and nothing is said."""
    publications = Publications()
    publications.notice(Seen)
    publications.settle([])
    with caplog.at_level(logging.WARNING):
        publications.notice(Seen)
        publications.notice(Seen)
    (record,) = caplog.records
    assert "Seen is published, but the contracts do not know" in record.getMessage()
    assert "@publishes" in record.getMessage()


def test_only_events_with_a_type_can_be_declared() -> None:
    """The error says how to write one."""
    with pytest.raises(ConfigurationError, match="no event with a type"):
        publishes(type("Untyped", (Event,), {}))


def test_the_command_prints_what_the_service_says(capsys: pytest.CaptureFixture[str]) -> None:
    """For machines one object; neither form needs a database."""
    call_command("contracts", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["service"] == "test-service"
    assert printed["format"] == 1
    call_command("contracts")
