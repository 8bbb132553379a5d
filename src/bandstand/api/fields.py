"""Fields of serializers that read numbers, UUIDs, dates and times as JSON and RFCs write them, and in no other way.

Python's own ``int``, ``float``, ``Decimal`` and ``UUID`` take more, and REST framework gives them what the client has
sent: underscores between digits, digits of other alphabets, white space around them. A gateway, another service or a
log reads ``"1_0"`` as no number at all, so that two of them disagree about what was ordered.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

from django.db import models
from django.utils.formats import sanitize_separators
from rest_framework import relations, serializers

__all__ = [
    "LENIENT_FIELDS",
    "BigIntegerField",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "DurationField",
    "FloatField",
    "IntegerField",
    "ModelSerializer",
    "PrimaryKeyRelatedField",
    "TimeField",
    "UUIDField",
    "is_integer",
    "is_number",
    "is_time",
    "is_uuid",
    "key_reader",
]

M = TypeVar("M", bound=models.Model)

_INTEGER: Final = re.compile(r"[+-]?[0-9]+(?:\.0*)?")  # as REST framework has it: "1.0" is a whole number
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX: Final = "[0-9a-fA-F]"
_UUID: Final = re.compile(rf"(?:urn:uuid:)?\{{?{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}\}}?")
_TIME: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_UNREADABLE: Final = "?"  # which REST framework's fields refuse with their own message


def is_integer(text: str) -> bool:
    """Return whether ``text`` is a whole number in ASCII digits, without underscores and white space."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Return whether ``text`` is a finite decimal number in ASCII digits, without underscores and white space."""
    return _NUMBER.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Return whether ``text`` could be a date, time or duration: ASCII without white space around it."""
    return _TIME.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a UUID of 32 hexadecimal digits in either case, with or without hyphens."""
    return _UUID.fullmatch(text) is not None


class _StrictText:
    """A mixin for fields that read only those texts for which ``is_plain`` is true."""

    is_plain: Callable[[str], bool]

    def to_internal_value(self, data: Any) -> Any:
        """Return the value."""
        return super().to_internal_value(_readable(data, self.is_plain))  # type: ignore[misc]


class IntegerField(_StrictText, serializers.IntegerField):
    """A whole number: ``10``, ``"10"`` or ``"10.0"``."""

    is_plain = staticmethod(is_integer)


class BigIntegerField(_StrictText, serializers.BigIntegerField):
    """A whole number, as :class:`IntegerField` reads it."""

    is_plain = staticmethod(is_integer)


class FloatField(serializers.FloatField):
    """A finite number: ``1.5`` or ``"1.5"``, and neither ``true`` nor ``"NaN"``."""

    def to_internal_value(self, data: Any) -> float:
        """Return the number."""
        return super().to_internal_value(_UNREADABLE if isinstance(data, bool) else _readable(data, is_number))


class DecimalField(serializers.DecimalField):
    """A finite decimal number: ``"19.90"`` or ``19.9``."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the number."""
        if isinstance(data, str) and self.localize:
            data = sanitize_separators(data)
        return super().to_internal_value(_readable(data, is_number))

    def to_representation(self, value: Any) -> Any:
        """Return the number as text, or as a number with ``coerce_to_string=False``.

        Raises:
            ValueError: it is NaN or infinite, which JSON can't express.
        """
        shown = super().to_representation(value)
        if shown and not self.localize and not is_number(str(shown)):
            raise ValueError(f"The field {self.field_name!r} holds {shown}, which is no number in JSON.")
        return shown


class UUIDField(serializers.UUIDField):
    """A UUID, in either case. Numbers are refused, unless the field's format is ``int``."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the UUID."""
        if isinstance(data, bool) or (isinstance(data, int) and self.uuid_format != "int"):
            self.fail("invalid", value=data)
        if isinstance(data, str) and not is_uuid(data):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class DateField(_StrictText, serializers.DateField):
    """A date in ASCII digits."""

    is_plain = staticmethod(is_time)


class DateTimeField(_StrictText, serializers.DateTimeField):
    """A date and time in ASCII digits."""

    is_plain = staticmethod(is_time)


class TimeField(_StrictText, serializers.TimeField):
    """A time of day in ASCII digits."""

    is_plain = staticmethod(is_time)


class DurationField(_StrictText, serializers.DurationField):
    """A duration in ASCII digits."""

    is_plain = staticmethod(is_time)


class PrimaryKeyRelatedField(relations.PrimaryKeyRelatedField[M]):
    """The key of another row. ``1.5`` and ``"1_0"`` are refused, though Django would find rows 1 and 10 by them."""

    def to_internal_value(self, data: Any) -> M:
        """Return the row."""
        rows = self.get_queryset()
        if self.pk_field is None and rows is not None and not _is_key(rows.model, data):
            self.fail("incorrect_type", data_type=type(data).__name__)
        return super().to_internal_value(data)


# REST framework's fields that a service should not use for what it reads, and those that replace them.
LENIENT_FIELDS: Final[
    dict[type[serializers.Field[Any, Any, Any, Any]], type[serializers.Field[Any, Any, Any, Any]]]
] = {
    serializers.IntegerField: IntegerField,
    serializers.BigIntegerField: BigIntegerField,
    serializers.FloatField: FloatField,
    serializers.DecimalField: DecimalField,
    serializers.UUIDField: UUIDField,
    serializers.DateField: DateField,
    serializers.DateTimeField: DateTimeField,
    serializers.TimeField: TimeField,
    serializers.DurationField: DurationField,
    relations.PrimaryKeyRelatedField: PrimaryKeyRelatedField,
}


class ModelSerializer(serializers.ModelSerializer[M]):
    """REST framework's ``ModelSerializer`` with the fields of this module for the columns of the model."""

    serializer_field_mapping: ClassVar[dict[Any, type[Any]]] = {
        column: LENIENT_FIELDS.get(field, field)
        for column, field in serializers.ModelSerializer.serializer_field_mapping.items()
    }
    serializer_related_field = PrimaryKeyRelatedField


def _readable(data: Any, is_plain: Callable[[str], bool]) -> Any:
    return _UNREADABLE if isinstance(data, str) and not is_plain(data) else data


def _is_key(model: type[models.Model], data: Any) -> bool:
    reader = key_reader(model._meta.pk)  # noqa: SLF001 - Django's documented model API
    if reader is None or not isinstance(data, (str, int, float)):
        return True
    return reader(data if isinstance(data, str) else str(data))


def key_reader(column: Any) -> Callable[[str], bool] | None:
    """Return the predicate for texts that are values of ``column``, a model's field; None if any text may be one."""
    while isinstance(column, models.ForeignKey):
        column = column.target_field
    if isinstance(column, models.IntegerField):
        return is_integer
    return is_uuid if isinstance(column, models.UUIDField) else None
