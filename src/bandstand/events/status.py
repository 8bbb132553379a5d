"""Where events are now: in the outbox, at the broker, in retries, among the dead letters."""

from typing import Any, Final

import msgspec
from django.db.models import Count, ExpressionWrapper, Min, Q
from django.db.models.fields import DurationField

from bandstand.events.brokers import Broker, Waiting
from bandstand.events.clock import Now
from bandstand.events.models import DeadLetter, Delivery
from bandstand.events.outbox import Backlog, open_outbox
from bandstand.events.subscriptions import Registry
from bandstand.exceptions import BrokerError

__all__ = ["Status", "SubscriptionStatus", "read_status", "subscription_counts"]

_PATIENCE: Final = 2.0


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``at_broker``: not brought to any worker yet; ``in_hand``: brought, and not settled yet. Each is None where the
    broker can't tell.

    ``retrying`` after a failure, ``waiting`` behind an older event of its key or since a replay, ``running`` again
    now, ``dead`` letters. ``oldest`` is the age in seconds of the oldest of the three before that. ``known`` is False
    when no handler subscribes by that name any more, so nothing of it moves.
    """

    name: str
    pattern: str
    known: bool
    at_broker: int | None = None
    in_hand: int | None = None
    retrying: int = 0
    waiting: int = 0
    running: int = 0
    dead: int = 0
    oldest: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """``sent``: rows of the outbox that were sent and are still kept. ``broker_error``: why the broker could not be
    asked, if so.
    """

    service: str
    outbox: Backlog
    sent: int
    subscriptions: tuple[SubscriptionStatus, ...]
    broker_error: str = ""


def read_status(alias: str, registry: Registry, *, service: str, broker: Broker | None = None) -> Status:
    """Count what is where, in the database of that alias and, if there is one, at the ``broker``."""
    patterns = {each.name: each.pattern for each in registry}
    counts = subscription_counts(alias)
    there, broker_error = _at_broker(broker, list(patterns))
    outbox = open_outbox(alias)
    return Status(
        service=service,
        outbox=outbox.backlog(),
        sent=outbox.sent(),
        subscriptions=tuple(
            SubscriptionStatus(
                name=name,
                pattern=patterns.get(name, ""),
                known=name in patterns,
                at_broker=there[name].pending if name in there else None,
                in_hand=there[name].unsettled if name in there else None,
                **counts.get(name, {}),
            )
            for name in sorted({*patterns, *counts})
        ),
        broker_error=broker_error,
    )


def subscription_counts(alias: str) -> dict[str, dict[str, Any]]:
    """Return, for each subscription of which something is stored, the counts that the database knows."""
    failed = Q(attempts__gt=0) | Q(deaths__gt=0)
    age = ExpressionWrapper(Now() - Min("created_at"), output_field=DurationField())
    rows = (
        Delivery.objects.using(alias)
        .values_list("subscription")
        .annotate(
            now=Count("id", filter=Q(running=True)),
            failing=Count("id", filter=failed & Q(running=False)),
            total=Count("id"),
            age=age,
        )
    )
    counts: dict[str, dict[str, Any]] = {
        name: {
            "running": running,
            "retrying": retrying,
            "waiting": total - running - retrying,
            "oldest": max(0.0, oldest.total_seconds()),
        }
        for name, running, retrying, total, oldest in rows
    }
    for name, dead in DeadLetter.objects.using(alias).values_list("subscription").annotate(count=Count("id")):
        counts.setdefault(name, {})["dead"] = dead
    return counts


def _at_broker(broker: Broker | None, names: list[str]) -> tuple[dict[str, Waiting], str]:
    if broker is None:
        return {}, ""
    try:
        return broker.waiting(names, _PATIENCE), ""
    except BrokerError as error:
        return {}, str(error)
