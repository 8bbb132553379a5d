"""Writing what a request names and nothing else, at the same time as others do."""

from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction
from rest_framework import serializers

from bandstand.api.fields import ModelSerializer

__all__ = ["ChangesOnlySerializer", "save_unique"]

M = TypeVar("M", bound=models.Model)


class ChangesOnlySerializer(ModelSerializer[M]):
    """A :class:`ModelSerializer` whose updates write only the columns that the request names.

    REST framework's own writes the whole row as it was read, and so takes back what another request, an event or an
    ``update()`` wrote meanwhile. Columns with ``auto_now`` are written as well.
    """

    def update(self, instance: M, validated_data: dict[str, Any]) -> M:
        """Write ``validated_data`` and return ``instance``."""
        columns = {field.name: field for field in instance._meta.concrete_fields}  # noqa: SLF001 - Django's documented model API
        related = {name: validated_data[name] for name in validated_data if name not in columns}
        changed = [name for name in validated_data if name in columns]
        for name in changed:
            setattr(instance, name, validated_data[name])
        if changed:
            stamps = [name for name, field in columns.items() if getattr(field, "auto_now", False)]
            instance.save(update_fields={*changed, *stamps})
        for name, value in related.items():
            getattr(instance, name).set(value)
        return instance


def save_unique(serializer: serializers.BaseSerializer[Any]) -> None:
    """Save, and refuse as the validation does when somebody else took the unique value between the check and the write.

    ::

        def perform_create(self, serializer):
            save_unique(serializer)

    Raises:
        ValidationError: a value is taken.
        IntegrityError: it is another constraint, of which the validation knows nothing; answered as 409.
    """
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError:
        serializer.run_validation(serializer.initial_data)
        raise
