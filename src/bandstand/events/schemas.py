"""The JSON Schema of an event's class: what ``contracts/`` publishes and what consumers' views are compared by.

``msgspec.json.schema`` is nearly this. It says of a ``datetime`` without ``Meta(tz=True)`` and of a dictionary's keys
only that they are text, so a contract made of it would promise more than a reader can rely on. This says it: keys
have ``propertyNames``, and besides ``date-time`` and ``time`` of RFC 3339 there are the formats ``partial-date-time``
and ``partial-time``, which never have a time zone, and ``any-date-time`` and ``any-time``, which may have one. JSON
Schema 2020-12 otherwise.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, inspect

from bandstand.exceptions import ConfigurationError

__all__ = ["schema_of"]

Schema = dict[str, Any]

_ANNOTATIONS: Final = ("title", "description", "examples", "deprecated", "format")
"""What ``Meta(extra_json_schema=…)`` may add. Nothing else is enforced when an event is read or published."""

_BOUNDS: Final = (("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum"))
_ZONES: Final = {True: "", False: "partial-", None: "any-"}
_INTEGER_KEY: Final = "^(0|-?[1-9][0-9]*)$"

_SIMPLE: Final[dict[type[inspect.Type], Schema]] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
    inspect.DecimalType: {"type": "string", "format": "decimal"},
}
_Number = (inspect.IntType, inspect.FloatType)
_Bytes = (inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType)
_Sequence = (
    inspect.ListType,
    inspect.VarTupleType,
    inspect.CollectionType,
    inspect.SetType,
    inspect.FrozenSetType,
)
_Set = (inspect.SetType, inspect.FrozenSetType)
_Record = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


def schema_of(kind: type[Any]) -> Schema:
    """Return the JSON Schema of ``kind``, complete in itself: what it refers to is in its ``$defs``.

    Raises:
        ConfigurationError: a field has a type that has no JSON form.
    """
    try:
        return _Schemas().root(inspect.type_info(kind))
    except TypeError as error:
        raise ConfigurationError(f"{kind.__module__}.{kind.__qualname__} has no JSON Schema: {error}") from error


class _Schemas:
    """One document. Classes become definitions, named as they are; a second of the same name gets a number."""

    def __init__(self) -> None:
        self._names: dict[type[Any], str] = {}
        self._definitions: Schema = {}

    def root(self, info: inspect.Type) -> Schema:
        """The root itself stands at the top, so that a reader of the file sees the event first."""
        schema = self.of(info)
        name = schema.get("$ref", "").rpartition("/")[2]
        if not name:
            return schema
        definitions = dict(sorted(self._definitions.items()))
        if not _refers(definitions, f"#/$defs/{name}"):
            schema = definitions.pop(name)
        return {**schema, "$defs": definitions} if definitions else schema

    def of(self, info: inspect.Type) -> Schema:
        if (simple := _SIMPLE.get(type(info))) is not None:
            return dict(simple)
        if isinstance(info, inspect.Metadata):
            extra = info.extra_json_schema or {}
            kept = {key: value for key, value in extra.items() if key in _ANNOTATIONS or key.startswith("x-")}
            return {**kept, **self.of(info.type)}
        if isinstance(info, _Number):
            return _number(info)
        if isinstance(info, (inspect.StrType, *_Bytes, inspect.DateTimeType, inspect.TimeType)):
            return _text(info)
        if isinstance(info, inspect.LiteralType):
            return {"enum": sorted(info.values, key=_order)}
        return self._compound(info)

    def _compound(self, info: inspect.Type) -> Schema:
        match info:
            case inspect.EnumType() | inspect.StructType() | inspect.DataclassType():
                return self._definition(info)
            case inspect.TypedDictType() | inspect.NamedTupleType():
                return self._definition(info)
            case inspect.UnionType():
                return self._union(info)
            case inspect.TupleType():
                return _array([self.of(each) for each in info.item_types], items=False)
            case inspect.DictType():
                return self._dictionary(info)
            case _ if isinstance(info, _Sequence):
                return self._sequence(info)
        raise TypeError(f"{getattr(info, 'cls', type(info).__name__)} is no type that JSON has a form for")

    def _sequence(self, info: Any) -> Schema:
        schema = {"type": "array", **_lengths(info, "Items")}
        if not isinstance(info.item_type, inspect.AnyType):
            schema["items"] = self.of(info.item_type)
        return {**schema, "uniqueItems": True} if isinstance(info, _Set) else schema

    def _dictionary(self, info: inspect.DictType) -> Schema:
        schema = {"type": "object", **_lengths(info, "Properties")}
        names = self._key(info.key_type)
        if names:
            schema["propertyNames"] = names
        if not isinstance(info.value_type, inspect.AnyType):
            schema["additionalProperties"] = self.of(info.value_type)
        return schema

    def _key(self, info: inspect.Type) -> Schema:
        """Keys are text in JSON, whatever they are in Python."""
        schema = _enumeration(info.cls) if isinstance(info, inspect.EnumType) else self.of(info)
        if schema.get("type") == "integer":
            bounds = {"x-integer": schema} if len(schema) > 1 else {}
            return {"pattern": _INTEGER_KEY, **bounds}
        if "enum" in schema:
            return {"enum": [str(value) for value in schema["enum"]]}
        if schema.pop("type", "string") == "string" and "$ref" not in schema:
            return schema
        raise TypeError("a dictionary can't have keys of that type in a contract; use text")

    def _union(self, info: inspect.UnionType) -> Schema:
        schema: Schema = {"anyOf": [self.of(each) for each in info.types]}
        tagged = [each for each in info.types if isinstance(each, inspect.StructType) and each.tag_field]
        if len(tagged) > 1:
            schema["discriminator"] = {"propertyName": tagged[0].tag_field}
        return schema

    def _definition(self, info: Any) -> Schema:
        kind = info.cls
        if kind not in self._names:
            taken = {*self._names.values()}
            name = kind.__name__.partition("[")[0]
            free = (name if n == 1 else f"{name}{n}" for n in range(1, len(taken) + 2))
            self._names[kind] = name = next(each for each in free if each not in taken)
            self._definitions[name] = {}  # a class that refers to itself finds its name taken
            described = _enumeration(kind) if isinstance(info, inspect.EnumType) else self._record(info)
            self._definitions[name] = {**_titles(kind), **described}
        return {"$ref": f"#/$defs/{self._names[kind]}"}

    def _record(self, info: Any) -> Schema:
        fields = {field.encode_name: self._field(field) for field in info.fields}
        required = [field.encode_name for field in info.fields if field.required]
        tag_field = getattr(info, "tag_field", None)
        if tag_field:
            fields = {tag_field: {"enum": [info.tag]}, **fields}
            required = [tag_field, *required]
        closed = bool(getattr(info, "forbid_unknown_fields", False))
        if isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False):
            return _array(list(fields.values()), least=len(required), items=False if closed else None)
        schema: Schema = {"type": "object", "properties": fields, "required": required}
        return {**schema, "additionalProperties": False} if closed else schema

    def _field(self, field: inspect.Field) -> Schema:
        schema = self.of(field.type)
        if field.default is not NODEFAULT and field.default is not msgspec.UNSET:
            return {**schema, "default": msgspec.to_builtins(field.default, str_keys=True)}
        return {**schema, "default": field.default_factory()} if field.default_factory in {list, dict} else schema


def _refers(value: object, reference: str) -> bool:
    if isinstance(value, dict):
        return value.get("$ref") == reference or any(_refers(each, reference) for each in value.values())
    return isinstance(value, list) and any(_refers(each, reference) for each in value)


def _number(info: inspect.IntType | inspect.FloatType) -> Schema:
    schema: Schema = {"type": "integer" if isinstance(info, inspect.IntType) else "number"}
    for bound, keyword in _BOUNDS:
        if (value := getattr(info, bound)) is not None:
            schema[keyword] = value
    return {**schema, "multipleOf": info.multiple_of} if info.multiple_of is not None else schema


def _text(info: Any) -> Schema:
    if isinstance(info, inspect.DateTimeType):
        return {"type": "string", "format": f"{_ZONES[info.tz]}date-time"}
    if isinstance(info, inspect.TimeType):
        return {"type": "string", "format": f"{_ZONES[info.tz]}time"}
    if isinstance(info, _Bytes):
        # Base64 writes three bytes as four characters.
        lengths = {keyword: 4 * ((value + 2) // 3) for keyword, value in _lengths(info, "Length").items()}
        return {"type": "string", "contentEncoding": "base64", **lengths}
    schema = {"type": "string", **_lengths(info, "Length")}
    return {**schema, "pattern": info.pattern} if info.pattern is not None else schema


def _lengths(info: Any, what: str) -> Schema:
    named = ((f"min{what}", info.min_length), (f"max{what}", info.max_length))
    return {keyword: value for keyword, value in named if value is not None}


def _array(prefix: Sequence[Schema], *, least: int | None = None, items: bool | None = None) -> Schema:
    schema: Schema = {"type": "array", "prefixItems": list(prefix), "minItems": len(prefix) if least is None else least}
    return schema if items is None else {**schema, "items": items, "maxItems": len(prefix)}


def _enumeration(kind: Any) -> Schema:
    return {"enum": sorted((member.value for member in kind), key=_order)}


def _order(value: object) -> tuple[str, Any]:
    return (type(value).__name__, value if isinstance(value, (int, str)) else "")


def _titles(kind: type[Any]) -> Schema:
    """A docstring that the class inherits says nothing about it, and neither does what a dataclass generates."""
    text = vars(kind).get("__doc__") or ""
    described = text.strip() and not text.startswith(f"{kind.__name__}(")
    return {"title": kind.__name__.partition("[")[0], **({"description": _paragraphs(text)} if described else {})}


def _paragraphs(text: str) -> str:
    lines = text.expandtabs().strip().splitlines()
    return "\n".join(line.strip() for line in lines)
