"""Subscriptions to the events of those who own what this service refers to."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError

from bandstand.events import Message, subscribe
from bandstand.exceptions import CacheUnavailable, ConfigurationError, EventPostponed
from bandstand.remote.fields import RemoteForeignKey
from bandstand.remote.things import Things

__all__ = ["subscribe_to_owners"]


def subscribe_to_owners() -> None:
    """Subscribe once for each pattern that a ``RemoteForeignKey`` of an installed model names.

    Raises:
        ConfigurationError: a pattern is none, or two fields read the id of the same event in different ways.
    """
    groups: dict[tuple[str, str, str], list[RemoteForeignKey]] = {}
    alike: dict[str, list[Things]] = {}  # by what is kept: all that may have kept it, for longer or shorter
    for field in _fields():
        alike.setdefault(field.things.tag, []).append(field.things)
        if field.events is not None:
            groups.setdefault((field.service, field.things.tag, field.events), []).append(field)
    for (service, tag, pattern), fields in groups.items():
        if len({field.event_id for field in fields}) > 1:
            names = " and ".join(str(field) for field in fields)
            raise ConfigurationError(f"{names} differ in event_id, though they wait for the same {pattern!r}.")
        path = tag.rpartition(":")[2].strip("/").replace("/", ".")
        name = f"remote.{service}.{path}.{pattern}".replace("*", "all").lower()
        subscribe(pattern, name=name)(_handler(fields[0], alike[tag]))


def _fields() -> Iterable[RemoteForeignKey]:
    for model in apps.get_models():
        for field in model._meta.local_fields:  # noqa: SLF001 - Django's documented model API
            if isinstance(field, RemoteForeignKey):
                yield field


def _handler(field: RemoteForeignKey, alike: Sequence[Things]) -> Callable[[dict[str, Any], Message], None]:
    def forget_what_changed(event: dict[str, Any], message: Message) -> None:
        """Forget the thing that the event is about; all of them if it does not say which."""
        if message.source == field.service:
            name = event.get(field.event_id) if field.event_id else message.key
            _forget(alike, "" if name is None else _id_in(field, name), message)

    return forget_what_changed


def _id_in(field: RemoteForeignKey, name: Any) -> str:
    """Return the id as the field stores it, which is what is kept under: a UUID may come in capital letters."""
    try:
        return str(field.to_python(name))
    except ValidationError:
        return str(name)


def _forget(alike: Sequence[Things], name: str, message: Message) -> None:
    """Forget the thing of that id, or see that nothing of it is kept by now anyhow.

    Raises:
        EventPostponed: Redis is away, and may bring back the thing as it was before the event.
    """
    try:
        alike[0].forget(name)
    except CacheUnavailable as error:
        if (datetime.now(UTC) - message.time).total_seconds() < max(things.lasts() for things in alike):
            raise EventPostponed(f"{message.source} changed what may still be kept: {error}") from error
