"""JSON Schema, as far as events use it, by kinds of JSON values: what a writer may send, what a reader takes.

The same words mean different things on the two sides. A writer of a class sends its fields and no others; a reader
ignores what it does not know; one of decimal numbers also takes a JSON number, one of fractions a whole number.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "ANYTHING",
    "FORMATS",
    "Document",
    "Items",
    "Kinds",
    "Members",
    "Numbers",
    "Schema",
    "Text",
    "Undecidable",
    "text_of",
]

Schema = Mapping[str, Any]

ANYTHING: Final[Schema] = {}

_ANNOTATIONS: Final = frozenset(
    {
        "$comment", "$defs", "$id", "$schema", "default", "deprecated", "description", "discriminator", "examples",
        "format", "title",
    }
)  # fmt: skip
_KEYWORDS: Final = {
    "string": frozenset({"minLength", "maxLength", "pattern", "contentEncoding"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {
            "properties", "required", "additionalProperties", "propertyNames",
            "minProperties", "maxProperties",
        }
    ),
    "null": frozenset(),
    "boolean": frozenset(),
}  # fmt: skip
FORMATS: Final = frozenset(
    {
        "uuid", "date", "duration", "decimal", "time", "partial-time", "any-time",
        "date-time", "partial-date-time", "any-date-time",
    }
)  # fmt: skip
"""Formats that a reader insists on. Others (``email``) are remarks, that neither side checks."""


class Undecidable(Exception):
    """The schema says something that can't be compared; the text says what."""


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths in characters; ``format`` is one of FORMATS or ``base64``; ``values`` are all that there are."""

    least: int = 0
    most: int | None = None
    pattern: str | None = None
    format: str | None = None
    values: tuple[str, ...] | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """A range; ``above`` and ``below`` are not in it themselves."""

    whole: bool
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    multiple: float | None = None
    values: tuple[int, ...] | None = None


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """An array: ``prefix`` by position, ``rest`` of what follows, or None if nothing may."""

    prefix: tuple[Schema, ...] = ()
    rest: Schema | None = ANYTHING
    least: int = 0
    most: int | None = None
    unique: bool = False

    def at(self, index: int) -> Schema | None:
        return self.prefix[index] if index < len(self.prefix) else self.rest


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """An object: ``rest`` is of fields that are not named, or None if there may be none."""

    fields: Mapping[str, Schema] = {}
    required: tuple[str, ...] = ()
    rest: Schema | None = ANYTHING
    names: Schema | None = None
    least: int = 0
    most: int | None = None


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """One entry for each kind of JSON value; None is: not of that kind."""

    null: bool = False
    boolean: bool = False
    whole: Numbers | None = None
    number: Numbers | None = None
    text: Text | None = None
    array: Items | None = None
    objects: tuple[Members, ...] = ()
    tag: str | None = None
    """The field by which several ``objects`` are told apart."""
    anything: bool = False


_ALL: Final = Kinds(
    null=True,
    boolean=True,
    whole=Numbers(whole=True),
    number=Numbers(whole=False),
    text=Text(),
    array=Items(),
    objects=(Members(),),
    anything=True,
)


class Document:
    """A schema with its definitions, read as one side."""

    def __init__(self, root: Schema, *, writer: bool, lenient: bool = True) -> None:
        self.root = root
        self._writer = writer
        self._lenient = lenient and not writer
        self._definitions: Schema = root.get("$defs", {})

    def resolve(self, schema: Schema) -> Schema:
        """Follow references to the schema that they name.

        Raises:
            Undecidable: a reference leads nowhere.
        """
        for _ in range(100):
            if "$ref" not in schema:
                return schema
            if schema["$ref"] == "#":
                schema = self.root
                continue
            prefix, _, name = schema["$ref"].rpartition("/")
            if prefix != "#/$defs" or name not in self._definitions:
                break
            schema = self._definitions[name]
        raise Undecidable(f"the reference {schema['$ref']!r} leads nowhere")

    def kinds(self, schema: Schema) -> Kinds:
        """Return what values ``schema`` allows.

        Raises:
            Undecidable: it says more than can be compared.
        """
        schema = self.resolve(schema)
        found = self._union(schema) if "anyOf" in schema else self._one(schema)
        if self._lenient and found.text is not None and found.text.format == "decimal":
            whole, number = found.whole or Numbers(whole=True), found.number or Numbers(whole=False)
            found = msgspec.structs.replace(found, whole=whole, number=number)
        return found

    def _union(self, schema: Schema) -> Kinds:
        _refuse_others(schema, frozenset({"anyOf"}))
        found = Kinds()
        for each in schema["anyOf"]:
            found = _merged(found, self.kinds(each))
        tag = (schema.get("discriminator") or {}).get("propertyName")
        return msgspec.structs.replace(found, tag=tag) if tag else found

    def _one(self, schema: Schema) -> Kinds:
        if "enum" in schema:
            _refuse_others(schema, frozenset({"enum", "type"}))
            return _enumerated(schema["enum"])
        kind = schema.get("type")
        if kind is None:
            _refuse_others(schema, frozenset())
            return _ALL
        if kind not in _KEYWORDS:
            raise Undecidable(f"the type {kind!r} is not one that can be compared")
        _refuse_others(schema, _KEYWORDS[kind] | {"type"})
        if kind in {"integer", "number"}:
            numbers = _numbers(schema, whole=kind == "integer")
            return Kinds(whole=numbers) if numbers.whole else Kinds(number=numbers)
        if kind == "string":
            return Kinds(text=text_of(schema))
        if kind == "array":
            return Kinds(array=self._items(schema))
        return self._simple(kind, schema)

    def _simple(self, kind: str, schema: Schema) -> Kinds:
        if kind in {"null", "boolean"}:
            return Kinds(null=kind == "null", boolean=kind == "boolean")
        return Kinds(objects=(self._members(schema),))

    def _items(self, schema: Schema) -> Items:
        prefix = tuple(schema.get("prefixItems", ()))
        rest = schema.get("items", ANYTHING if not (prefix and self._writer) else False)
        most = schema.get("maxItems")
        if rest is False:
            most = len(prefix) if most is None else min(most, len(prefix))
        return Items(
            prefix=prefix,
            rest=None if rest is False else (ANYTHING if rest is True else rest),
            least=schema.get("minItems", 0),
            most=most,
            unique=bool(schema.get("uniqueItems", False)),
        )

    def _members(self, schema: Schema) -> Members:
        closed = self._writer and "properties" in schema
        rest = schema.get("additionalProperties", not closed)
        return Members(
            fields=schema.get("properties", {}),
            required=tuple(schema.get("required", ())),
            rest=None if rest is False else (ANYTHING if rest is True else rest),
            names=schema.get("propertyNames"),
            least=schema.get("minProperties", 0),
            most=schema.get("maxProperties"),
        )


def text_of(schema: Schema) -> Text:
    """Read a schema that is of text alone, as the one of a dictionary's keys is."""
    named = schema.get("format")
    return Text(
        least=schema.get("minLength", 0),
        most=schema.get("maxLength"),
        pattern=schema.get("pattern"),
        format="base64" if schema.get("contentEncoding") == "base64" else (named if named in FORMATS else None),
        values=tuple(schema["enum"]) if "enum" in schema else None,
    )


def _numbers(schema: Schema, *, whole: bool) -> Numbers:
    return Numbers(
        whole=whole,
        least=schema.get("minimum"),
        above=schema.get("exclusiveMinimum"),
        most=schema.get("maximum"),
        below=schema.get("exclusiveMaximum"),
        multiple=schema.get("multipleOf"),
    )


def _enumerated(values: list[Any]) -> Kinds:
    texts = tuple(value for value in values if isinstance(value, str))
    numbers = tuple(value for value in values if isinstance(value, int) and not isinstance(value, bool))
    null = None in values
    if len(texts) + len(numbers) + null < len(values):
        raise Undecidable("an enumeration of other values than texts and whole numbers")
    return Kinds(
        null=null,
        text=Text(values=texts) if texts else None,
        whole=Numbers(whole=True, values=numbers) if numbers else None,
    )


def _merged(one: Kinds, other: Kinds) -> Kinds:
    if one.anything or other.anything:
        return _ALL
    for name in ("whole", "number", "text", "array"):
        if getattr(one, name) is not None and getattr(other, name) is not None:
            raise Undecidable(f"a choice between several kinds of {name}")
    return Kinds(
        null=one.null or other.null,
        boolean=one.boolean or other.boolean,
        whole=one.whole or other.whole,
        number=one.number or other.number,
        text=one.text or other.text,
        array=one.array or other.array,
        objects=(*one.objects, *other.objects),
        tag=one.tag or other.tag,
    )


def _refuse_others(schema: Schema, known: frozenset[str]) -> None:
    for keyword in schema:
        if keyword not in known and keyword not in _ANNOTATIONS and not keyword.startswith("x-"):
            raise Undecidable(f"the keyword {keyword!r}, which is not compared")
