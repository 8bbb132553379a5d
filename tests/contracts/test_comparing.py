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
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
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
        (_object(["price"], price={"type": "number"}), _object(["price"], price=DECIMAL), []),
    ],
)  # fmt: skip
def test_differences_say_where_and_what(
    written: dict[str, object], read: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    """A path to the field, why it can't be read, and whether that is proven."""
    assert [(each.path, each.why, each.verdict) for each in compare(written, read)] == expected


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
