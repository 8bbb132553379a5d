import json

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bandstand.events.schemas import schema_of
from bandstand.workspace.contracts import compare

from .classes import Pair, calm, wild

PROPERTY = settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@PROPERTY
@given(pair=calm, data=st.data())
def test_what_is_called_compatible_can_be_read(pair: Pair, data: st.DataObject) -> None:
    """Where no difference is found, msgspec decodes all that the writer encodes into the reader's class."""
    if compare(schema_of(pair.written.type), schema_of(pair.read)):
        return
    for _ in range(5):
        msgspec.json.decode(msgspec.json.encode(data.draw(pair.written.values)), type=pair.read)


@PROPERTY
@given(pair=wild)
def test_what_is_called_incompatible_has_an_example(pair: Pair) -> None:
    """The writer may send the example, by msgspec and by JSON Schema, and the reader refuses it."""
    written = schema_of(pair.written.type)
    for difference in compare(written, schema_of(pair.read)):
        for example in difference.example:
            sent = json.dumps(example).encode()
            msgspec.json.decode(sent, type=pair.written.type)
            jsonschema.validate(example, written, jsonschema.Draft202012Validator)
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(sent, type=pair.read)


def _object(required: list[str], **fields: object) -> dict[str, object]:
    return {"type": "object", "properties": fields, "required": required}


def _list(**limits: object) -> dict[str, object]:
    return {"type": "array", "items": {"type": "string"}, **limits}


def _pair(*items: object) -> dict[str, object]:
    return {"type": "array", "prefixItems": [*items], "items": False, "minItems": len(items), "maxItems": len(items)}


def _keys(**limits: object) -> dict[str, object]:
    return {"type": "object", "additionalProperties": {"type": "integer"}, **limits}


UUID = {"type": "string", "format": "uuid"}
TEXT = {"type": "string"}
DECIMAL = {"type": "string", "format": "decimal"}
COUNT = {"type": "integer", "minimum": 1}


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        (_object(["id"], id=UUID), _object(["id"], id=TEXT), []),
        (_object(["id"], id=TEXT), _object(["id"], id=UUID), [("id", "value", "incompatible")]),
        (_object([], id=TEXT), _object(["id"], id=TEXT), [("id", "optional", "incompatible")]),
        (_object([], mail=TEXT), _object(["id"], id=TEXT), [("id", "missing", "incompatible")]),
        (
            _object(["items"], items={"type": "array", "items": _object(["n"], n={"type": "integer"})}),
            _object(["items"], items={"type": "array", "items": _object(["n"], n=COUNT)}),
            [("items[].n", "value", "incompatible")],
        ),
        (
            _object(["a"], a={"type": "string", "pattern": "^[a-z]{3}$"}),
            _object(["a"], a={"type": "string", "pattern": "^abc$|^[a-z]{3}"}),
            [("a", "value", "undecided")],
        ),
        (
            _object(["a"], a={"type": "string", "not": {"const": "x"}}),
            _object(["a"], a=TEXT),
            [("a", "value", "undecided")],
        ),
        (
            _object(["a"], a=TEXT, b=TEXT),
            {**_object(["a"], a=TEXT), "additionalProperties": False},
            [("b", "unknown", "incompatible")],
        ),
        *(
            (_object(["a"], a=written), _object(["a"], a=read), expected)
            for written, read, expected in (
                (_list(), _list(minItems=1), [("a", "value", "incompatible")]),
                (_list(minItems=1), _list(minItems=1), []),
                (_list(), _list(maxItems=2), [("a", "value", "incompatible")]),
                (_list(minItems=2), _list(minItems=2, uniqueItems=True), [("a", "value", "incompatible")]),
                (_list(uniqueItems=True, minItems=2), _list(minItems=2), []),
                (_pair(TEXT, TEXT), _pair(TEXT), [("a", "value", "incompatible")]),
                (_pair(TEXT, TEXT), _pair(TEXT, UUID), [("a[1]", "value", "incompatible")]),
                (_keys(), _keys(minProperties=1), [("a", "value", "incompatible")]),
                (_keys(), _keys(maxProperties=1), [("a", "value", "incompatible")]),
                (_keys(), _keys(propertyNames={"format": "uuid"}), [("a.*", "value", "incompatible")]),
                (_keys(propertyNames={"format": "uuid"}), _keys(propertyNames={"minLength": 9}), []),
                ({"enum": ["a", "b"]}, {"enum": ["a"]}, [("a", "value", "incompatible")]),
                ({"enum": ["a"]}, {"enum": ["a", "b"]}, []),
                ({"anyOf": [TEXT, {"type": "null"}]}, TEXT, [("a", "value", "incompatible")]),
            )
        ),
        (_object(["price"], price={"type": "number"}), _object(["price"], price=DECIMAL), []),
    ],
)  # fmt: skip
def test_differences_say_where_and_what(
    written: dict[str, object], read: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    """A path to the field, why it can't be read, and whether that is proven."""
    assert [(each.path, each.why, each.verdict) for each in compare(written, read)] == expected


def test_a_difference_is_told_also_without_an_example() -> None:
    """A pattern that no example is found for, in another field, leaves a verdict as it is."""
    special = {"type": "string", "pattern": "^(ab){7}$"}
    written = _object(["id", "n"], id=special, n={"type": "integer"})
    for read in (_object(["x"], x=TEXT), _object(["n"], n=COUNT), _object(["id"], id={"type": "integer"})):
        (difference,) = compare(written, read)
        assert (difference.verdict, difference.example) == ("incompatible", ())


def test_recursive_types_end() -> None:
    """A tree is compared with a tree of another depth of definitions, and a difference in it is found."""

    def tree(name: dict[str, object]) -> dict[str, object]:
        node = _object(["name", "children"], name=name, children={"type": "array", "items": {"$ref": "#/$defs/Node"}})
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    assert compare(tree(TEXT), tree({"type": "string", "minLength": 0})) == ()
    (difference,) = compare(tree(TEXT), tree({"type": "string", "minLength": 2}))
    assert (difference.path, difference.example) == ("name", ({"name": "", "children": []},))


def test_a_promise_is_read_strictly() -> None:
    """That msgspec takes a number for a decimal is no excuse for changing what was promised to everybody."""
    written, read = _object(["p"], p={"type": "number"}), _object(["p"], p=DECIMAL)
    assert compare(written, read) == ()
    assert [each.path for each in compare(written, read, lenient=False)] == ["p"]
