"""Query parameters of django-filter that read numbers, UUIDs and moments as ``bandstand.api.fields`` does."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django import forms
from django_filters.rest_framework import DjangoFilterBackend

from bandstand.api.fields import is_integer, is_number, is_time, is_uuid, key_reader

__all__ = ["FilterBackend"]

# The first class that fits counts: Django's own whole numbers and floats are kinds of one another.
_READERS: Final[tuple[tuple[type[forms.Field], Callable[[str], bool]], ...]] = (
    (forms.DecimalField, is_number),
    (forms.FloatField, is_number),
    (forms.IntegerField, is_integer),
    (forms.UUIDField, is_uuid),
    (forms.DateTimeField, is_time),
    (forms.DurationField, is_time),
)


class FilterBackend(DjangoFilterBackend):  # type: ignore[misc] # django-filter publishes no types
    """django-filter's backend that refuses ``min_price=1_0``, as the fields of ``bandstand.api`` do in a body.

    It looks at each filter whose form field is a number, a UUID, a moment or a duration, at lists and ranges of them,
    and at choices of rows by such a key. django-filter is needed where this class is used and nowhere else.
    """

    def get_filterset(self, request: Any, queryset: Any, view: Any) -> Any:
        """Return the filter set; its form has an error for each parameter that can't be read."""
        filterset = super().get_filterset(request, queryset, view)
        if filterset is not None and not filterset.errors:
            for name, message in list(_faults(filterset.form)):
                filterset.form.add_error(name, forms.ValidationError(message, code="invalid"))
        return filterset


def _faults(form: forms.Form) -> Iterator[tuple[str, Any]]:
    for name, field in form.fields.items():
        raw = field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
        if not _is_readable(field, raw):
            yield name, field.error_messages.get("invalid", "Enter a valid value.")


def _is_readable(field: forms.Field, raw: Any) -> bool:
    if isinstance(raw, (list, tuple)):
        parts = field.fields if isinstance(field, forms.MultiValueField) else [field] * len(raw)
        return all(_is_readable(part, text) for part, text in zip(parts, raw, strict=False))
    reader = _reader(field)
    return reader is None or not isinstance(raw, str) or not raw or reader(raw)


def _reader(field: forms.Field) -> Callable[[str], bool] | None:
    if isinstance(field, forms.ModelChoiceField):
        if field.queryset is None:
            return None
        options = field.queryset.model._meta  # noqa: SLF001 - Django's documented model API
        return key_reader(options.get_field(field.to_field_name) if field.to_field_name else options.pk)
    return next((reader for kind, reader in _READERS if isinstance(field, kind)), None)
