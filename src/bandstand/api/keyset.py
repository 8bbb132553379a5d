"""Pages by the values of their last row (keyset pagination), in an order in which no two rows are equal.

The rows behind one with the values (a, b, c) are those with a greater first value, or an equal first and a greater
second, and so on. NULL counts as greater than every value, as PostgreSQL sorts it, so that its indexes serve.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any

import msgspec
from django.db.models import F, Q, QuerySet

from bandstand.structs import build_type

__all__ = ["Keyset", "Position"]


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The values of a row as text, in the order of ``names``; ``backwards`` selects the rows before it."""

    backwards: bool
    names: tuple[str, ...]
    values: tuple[str | None, ...]


build_type(Position)


class _Key(msgspec.Struct, frozen=True):
    """One field of the order."""

    name: str
    field: Any
    is_descending: bool

    def order(self, *, backwards: bool) -> Any:
        descending = self.is_descending != backwards
        if not getattr(self.field, "null", True):
            return F(self.name).desc() if descending else F(self.name).asc()
        return F(self.name).desc(nulls_first=True) if descending else F(self.name).asc(nulls_last=True)

    def equal(self, value: Any) -> Q:
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def behind(self, value: Any, *, backwards: bool) -> Q | None:
        """Return the condition for rows behind ``value``, or None if there can be none."""
        if self.is_descending != backwards:
            return Q(**{f"{self.name}__isnull": False}) if value is None else Q(**{f"{self.name}__lt": value})
        if value is None:
            return None
        greater = Q(**{f"{self.name}__gt": value})
        return greater | Q(**{f"{self.name}__isnull": True}) if getattr(self.field, "null", True) else greater


class Keyset:
    """The order of a list, by ``keys`` that are unique together."""

    def __init__(self, keys: Iterable[_Key]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of(cls, queryset: QuerySet[Any], ordering: Iterable[str]) -> Keyset:
        """Return the keyset of ``ordering``, with the primary key appended unless it is there.

        Raises:
            FieldDoesNotExist: the model has no such field, and the queryset no such annotation.
        """
        key = queryset.model._meta.pk.name  # noqa: SLF001 - Django's documented model API
        terms = list(ordering)
        if not any(term.lstrip("-") in {key, "pk"} for term in terms):
            terms.append(f"-{key}" if terms and terms[-1].startswith("-") else key)
        return cls(_key(queryset, term) for term in terms)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"-{key.name}" if key.is_descending else key.name for key in self._keys)

    def rows(self, queryset: QuerySet[Any], position: Position | None) -> QuerySet[Any]:
        """Return the rows behind ``position``, or all; before it, nearest first, if it points backwards."""
        backwards = position is not None and position.backwards
        if position is not None:
            queryset = queryset.filter(self._condition(position))
        return queryset.order_by(*(key.order(backwards=backwards) for key in self._keys))

    def _condition(self, position: Position) -> Q:
        values = [
            None if text is None else key.field.to_python(text)
            for key, text in zip(self._keys, position.values, strict=True)
        ]
        found = Q(pk__in=[])
        equal = Q()
        for key, value in zip(self._keys, values, strict=True):
            behind = key.behind(value, backwards=position.backwards)
            if behind is not None:
                found |= equal & behind
            equal &= key.equal(value)
        return found

    def encode(self, row: Any, *, backwards: bool) -> str:
        """Return the cursor of ``row``."""
        values = tuple(_text(_value(row, key.name)) for key in self._keys)
        packed = msgspec.json.encode(Position(backwards, self._names, values))
        return urlsafe_b64encode(packed).decode().rstrip("=")

    def decode(self, cursor: str) -> Position | None:
        """Return the position of ``cursor``, None if it is empty.

        Raises:
            ValueError: it is not one of this order.
        """
        if not cursor:
            return None
        packed = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        position = msgspec.json.decode(packed, type=Position)
        if position.names != self._names or len(position.values) != len(self._keys):
            raise ValueError("The cursor belongs to another order.")
        return position


def _key(queryset: QuerySet[Any], term: str) -> _Key:
    name = term.removeprefix("-")
    annotation = queryset.query.annotations.get(name)
    if annotation is not None:
        return _Key(name, annotation.output_field, term.startswith("-"))
    meta = queryset.model._meta  # noqa: SLF001 - Django's documented model API
    field = meta.pk if name == "pk" else meta.get_field(name)
    return _Key(name, field, term.startswith("-"))


def _value(row: Any, name: str) -> Any:
    value = row[name] if isinstance(row, Mapping) else getattr(row, name)
    return getattr(value, "pk", value)  # of a foreign key


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)
