"""Examples for OpenAPI documents, made of the fields of a serializer."""

import math
from collections.abc import Callable, Iterator
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from django.db import models
from rest_framework import relations, serializers

__all__ = ["Omitted", "example_of"]

_MOMENT: Final = "2026-01-31T12:00:00Z"
_ID: Final = "8e03978e-40d5-43dd-bc93-6894a57f9324"
_PRICE: Final = Decimal("19.90")


class Omitted(Exception):
    """No example can be made for a field, since nothing is known about its values."""


def example_of(field: Any, *, for_request: bool) -> Any:
    """Return an example of a serializer or field, in terms of JSON.

    A serializer says what its fields look like by the class attribute ``examples``, a dictionary by the name of the
    field; the others are made of their type and bounds. In a request there is nothing that is read only, in an answer
    nothing that is write only.

    Raises:
        Omitted: nothing is known about the values of the field.
    """
    if isinstance(field, serializers.ListSerializer):
        return [example_of(field.child, for_request=for_request)]
    if isinstance(field, serializers.Serializer):
        return dict(_members(field, for_request))
    return next(make(field) for kind, make in _MAKERS if isinstance(field, kind))


def _members(serializer: Any, for_request: bool) -> Iterator[tuple[str, Any]]:
    written: dict[str, Any] = getattr(serializer, "examples", {})
    for name, field in serializer.fields.items():
        if field.read_only if for_request else field.write_only:
            continue
        if isinstance(field, serializers.HiddenField):
            continue
        try:
            yield name, written[name] if name in written else example_of(field, for_request=for_request)
        except Omitted:
            continue


def _text(field: Any) -> str:
    words = str(field.field_name or "text").replace("_", " ")
    most, least = getattr(field, "max_length", None), getattr(field, "min_length", None) or 0
    return words[:most].ljust(least, ".")


def _integer(field: Any) -> int:
    whole: int = math.ceil(_within(field, 1))
    return whole


def _decimal(field: Any) -> Any:
    places = field.decimal_places if field.decimal_places is not None else 2
    value = Decimal(str(_within(field, _PRICE)))
    if field.max_whole_digits is not None:
        value = min(value, Decimal(10) ** field.max_whole_digits - 1)
    value = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_UP)
    return str(value) if getattr(field, "coerce_to_string", True) else float(value)


def _within(field: Any, value: Any) -> Any:
    if field.min_value is not None and value < field.min_value:
        return field.min_value
    return field.max_value if field.max_value is not None and value > field.max_value else value


def _choice(field: Any) -> Any:
    return next(iter(field.choices), "")


def _key(field: Any) -> Any:
    rows = field.get_queryset() if getattr(field, "queryset", None) is not None else None
    return _ID if rows is not None and isinstance(rows.model._meta.pk, models.UUIDField) else 1  # noqa: SLF001 - documented


def _omit(_field: Any) -> Any:
    raise Omitted


def _child(field: Any) -> Any:
    return example_of(field.child, for_request=True)


# The first class that fits counts: kinds of text stand before text.
_MAKERS: Final[tuple[tuple[type[Any], Callable[[Any], Any]], ...]] = (
    (serializers.BooleanField, lambda _: True),
    (serializers.EmailField, lambda _: "ada@example.com"),
    (serializers.URLField, lambda _: "https://example.com/"),
    (serializers.UUIDField, lambda _: _ID),
    (serializers.SlugField, lambda _: "a-name"),
    (serializers.IPAddressField, lambda _: "192.0.2.1"),
    (serializers.DateTimeField, lambda _: _MOMENT),
    (serializers.DateField, lambda _: _MOMENT[:10]),
    (serializers.TimeField, lambda _: "12:00:00"),
    (serializers.DurationField, lambda _: "00:05:00"),
    (serializers.DecimalField, _decimal),
    (serializers.FloatField, lambda field: float(_within(field, 1.5))),
    (serializers.IntegerField, _integer),
    (serializers.MultipleChoiceField, lambda field: [_choice(field)]),
    (serializers.ChoiceField, _choice),
    (serializers.ListField, lambda field: [_child(field)]),
    (serializers.DictField, lambda field: {"key": _child(field)}),
    (serializers.JSONField, lambda _: {}),
    (relations.ManyRelatedField, lambda field: [example_of(field.child_relation, for_request=True)]),
    (relations.PrimaryKeyRelatedField, _key),
    (serializers.RegexField, _omit),
    (serializers.CharField, _text),
    (serializers.Field, _omit),
)
