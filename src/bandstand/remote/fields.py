"""RemoteForeignKey: the id of a thing that another service owns, and the thing itself on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own name
from django.db import models
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.query_utils import DeferredAttribute
from django.utils.functional import cached_property

from bandstand.client import Resource
from bandstand.conf import get_settings
from bandstand.discovery import active_registry
from bandstand.exceptions import ConfigurationError, DiscoveryError
from bandstand.remote.things import Things

__all__ = ["RemoteForeignKey"]

if TYPE_CHECKING:
    _Field = models.Field[Any, Any]  # which only the type information can subscribe
else:
    _Field = models.Field


class _Id(DeferredAttribute):
    """The attribute with the id. Whoever sets it, to the same id too, as refresh_from_db() does, forgets the thing."""

    field: RemoteForeignKey

    def __set__(self, instance: models.Model, value: Any) -> None:
        if self.field.is_cached(instance):
            self.field.delete_cached_value(instance)
        instance.__dict__[self.field.attname] = value


class RemoteForeignKey(FieldCacheMixin, _Field):
    """A reference to what another service owns::

        class Order(models.Model):
            user = RemoteForeignKey("user-service", "users", events="user.*")

        order.user_id   # the id, as it is stored: no call
        order.user      # what GET /api/v1/users/{id}/ answers, from the cache if it is there; None for 404
        Order.objects.prefetch_related("user")    # one call for all rows

    ``resource`` is a name, which stands for ``/api/v1/{name}/``, a path, or a :class:`bandstand.client.Resource`, whose
    ``item`` is the type of the thing. ``key`` is the field that the id is stored as: a ``UUIDField`` unless given.
    What was loaded is kept for ``timeout`` seconds (``BANDSTAND["CACHE"]["TIMEOUT"]`` unless given), and may be used
    ``stale`` seconds longer while the owner can't be asked. ``events`` names the owner's events that end it sooner:
    ``event_id`` is the field of their data with the id; without it it is the event's key.

    The database knows nothing of the other side: no constraint, and no delete that follows.

    Raises, on access of the thing:
        ServiceCallError: the owner could not be asked.
        DeadlineExceeded: there was no time left to ask.
    """

    descriptor_class = _Id

    def __init__(
        self,
        service: str,
        resource: str | Resource[Any],
        *,
        key: _Field | None = None,
        events: str | None = None,
        event_id: str = "",
        timeout: float | None = None,
        stale: float = 0.0,
        **options: Any,
    ) -> None:
        self.service = service
        self.key: _Field = models.UUIDField() if key is None else key
        self.events = events
        self.event_id = event_id
        self.things = Things(service, resource, timeout=timeout, stale=stale)
        options.setdefault("db_index", True)
        options.setdefault("max_length", self.key.max_length)
        super().__init__(**options)

    # --- the id: whatever ``key`` says ------------------------------------------------------------

    def get_internal_type(self) -> str:
        return self.key.get_internal_type()

    def get_attname(self) -> str:
        return f"{self.name}_id"

    def to_python(self, value: Any) -> Any:
        return self.key.to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        return self.key.get_prep_value(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return self.key.get_db_prep_value(value, connection, prepared)

    def formfield(self, *_: Any, **options: Any) -> Any:
        """Return the field of a form for the id."""
        defaults = {"required": not self.blank, "label": (self.verbose_name or "").capitalize(), **options}
        return self.key.formfield(**defaults)

    def value_to_string(self, obj: models.Model) -> str:
        """Return the id as text, for serializers."""
        value = self.value_from_object(obj)
        return "" if value is None else str(value)

    # --- the thing --------------------------------------------------------------------------------

    @cached_property
    def cache_name(self) -> str:
        """Where an instance keeps what was loaded."""
        return str(self.name)

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        """Add the field, and beside the attribute with the id the one with the thing."""
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, name, RemoteThing(self))

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Say what a migration needs to know. What concerns loading alone is no matter of the database."""
        name, _, _, options = super().deconstruct()
        if options.get("max_length") == self.key.max_length:
            options.pop("max_length", None)
        if not options.pop("db_index", False):  # the default is the other way round here
            options["db_index"] = False
        _, key_path, key_args, key_options = self.key.deconstruct()
        if (key_path, list(key_args), key_options) != ("django.db.models.UUIDField", [], {}):
            options["key"] = self.key
        return name, "bandstand.remote.RemoteForeignKey", [self.service, self.things.resource.path], options

    # --- system checks ----------------------------------------------------------------------------

    def check(self, **options: Any) -> list[CheckMessage]:
        """Check that there is such a service."""
        return [*super().check(**options), *self._check_service()]

    def _check_service(self) -> list[CheckMessage]:
        if self.service == get_settings().service:
            hint = "Use ForeignKey for what this service owns."
            return [Error(f"{self.service} is this service itself.", hint=hint, obj=self, id="bandstand.remote.E001")]
        try:
            known = active_registry().names()  # and not their instances, which would be one question for each
        except (ConfigurationError, DiscoveryError):  # told by the check of discovery
            return []
        if not known or self.service in known:
            return []
        hint = f"Known are: {', '.join(sorted(known))}."
        return [Warning(f"No service is called {self.service!r}.", hint=hint, obj=self, id="bandstand.remote.W001")]


class RemoteThing:
    """The attribute with the thing. Django's ``prefetch_related()`` knows it by ``get_prefetch_querysets``."""

    def __init__(self, field: RemoteForeignKey) -> None:
        self.field = field

    def __get__(self, instance: models.Model | None, owner: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        if not self.is_cached(instance):
            name = self._name(instance)
            self.field.set_cached_value(instance, None if name is None else self.field.things.one(name))
        return self.field.get_cached_value(instance)

    def __set__(self, instance: models.Model, value: Any) -> None:
        """Set the id: ``Order(user=user_id)``. The thing belongs to its owner, so it can't be set from here."""
        setattr(instance, self.field.attname, value)

    def is_cached(self, instance: models.Model) -> bool:
        """Say whether the thing was loaded for this instance."""
        return self.field.is_cached(instance)

    def get_prefetch_querysets(
        self, instances: Sequence[models.Model], querysets: Any = None
    ) -> tuple[list[Any], Callable[[Any], Any], Callable[[models.Model], Any], bool, str, bool]:
        """Load the things of all ``instances`` with one call.

        Raises:
            ValueError: a queryset was given; there is none for what another service owns.
        """
        if querysets:
            raise ValueError(
                f"{self.field} is loaded from {self.field.service}; Prefetch() can't have a queryset here."
            )
        names = [name for name in map(self._name, instances) if name is not None]
        found = self.field.things.many(names)
        # Django matches what was found by a value of each; two ways round, since a thing need not say its id as text.
        ids = {id(thing): name for name, thing in found.items()}
        return list(found.values()), lambda thing: ids[id(thing)], self._name, True, self.field.cache_name, False

    def _name(self, instance: Any) -> str | None:
        value = getattr(instance, self.field.attname)
        return None if value is None else str(self.field.to_python(value))
