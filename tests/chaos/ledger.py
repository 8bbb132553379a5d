"""The accounting: what clients asked for and were told, held against what the databases say. It reads nothing itself.

After Jepsen's total-queue checker. An *intent* is what a client wants once, however often it asks: a registration, an
order, a cancellation. It is *acked* when an answer 2xx was seen, *committed* when its row is there, and its *effect* is
there when everything that should come of it came exactly once.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

__all__ = ["Dead", "Event", "Intent", "Ledger", "Note", "Order", "Seen", "Tables", "account"]

NOTE_OF: Final = {"confirmed": "order_confirmed", "rejected": "order_rejected", "cancelled": "order_cancelled"}
RESERVATIONS_OF: Final = {
    "confirmed": {"held"},
    "rejected": {"rejected", "released"},  # released: nobody confirmed its stock in time
    "cancelled": {"released", "rejected"},  # rejected: the cancellation came before the news that there is no stock
}
HEARD: Final[Mapping[str, tuple[str, ...]]] = {
    "product-service": ("order.",),
    "order-service": ("stock.",),
    "notification-service": ("user.", "order.", "notification."),
}
"""Which events the witness of a service writes down, by how their type begins."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What one client wants once.

    ``key`` is what its row can be known by: the address of a registration, the buyer and the quantity of an order (no
    buyer wants the same quantity twice), the id of the order that is cancelled. ``answers`` are the ids in the
    answers 2xx.
    """

    kind: Literal["registration", "order", "cancellation"]
    key: str
    acked: bool = False
    answers: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Order:
    """A row of the order service with its items."""

    id: str
    key: str
    status: str
    items: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Note:
    """A row of the notification service."""

    event: str
    kind: str
    sent: bool = True


@dataclass(frozen=True, kw_only=True)
class Event:
    """A row of an outbox."""

    id: str
    type: str
    key: str
    sent: bool = True


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A row that the witness of ``service`` wrote: its handler handled the event."""

    service: str
    event: str


@dataclass(frozen=True, kw_only=True)
class Dead:
    """A dead letter of ``service``, with the reason in one word."""

    service: str
    subscription: str
    event: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the databases and the mail folder hold when all is quiet.

    ``users`` are the addresses by id. ``stock`` is by product, as seeded and as left. ``mails`` are the pairs of event
    and kind of which a mail was sent. ``waiting`` are the events that a service holds back to try again, ``dead`` the
    dead letters, and ``poison`` the ids of messages of the type ``order.placed`` that nobody can read.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    reservations: Mapping[str, str] = field(default_factory=dict)
    stock: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    mails: frozenset[tuple[str, str]] = frozenset()
    events: tuple[Event, ...] = ()
    seen: tuple[Seen, ...] = ()
    waiting: int = 0
    dead: tuple[Dead, ...] = ()
    poison: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The outcome; ``faults`` says in words what each number that should be zero counts."""

    attempted: int
    acked: int
    committed: int
    effects: int
    kills: int = 0
    lost: int = 0
    ghosts: int = 0
    duplicates: int = 0
    stuck: int = 0
    faults: tuple[str, ...] = ()

    @property
    def balanced(self) -> bool:
        """Say whether each zero is a zero."""
        return not (self.lost or self.ghosts or self.duplicates or self.stuck)

    def with_kills(self, kills: int) -> "Ledger":
        """Return the same outcome of a run in which so many processes were killed."""
        return replace(self, kills=kills)

    def __str__(self) -> str:
        names = ("attempted", "acked", "committed", "effects", "kills", "lost", "ghosts", "duplicates", "stuck")
        return "ledger: " + " ".join(f"{name}={getattr(self, name)}" for name in names)


def account(intents: Iterable[Intent], tables: Tables) -> Ledger:
    """Hold ``intents`` against ``tables`` and count."""
    return _Accounting(tuple(intents), tables).ledger()


class _Accounting:
    def __init__(self, intents: tuple[Intent, ...], tables: Tables) -> None:
        self._intents = intents
        self._tables = tables
        self._faults: dict[str, list[str]] = defaultdict(list)
        self._users = {email: user for user, email in tables.users.items()}
        self._orders = _grouped((order.key, order) for order in tables.orders)
        self._by_id = {order.id: order for order in tables.orders}
        self._events = _grouped(((event.key, event.type), event) for event in tables.events)
        keys = {event.id: event.key for event in tables.events}
        self._notes = _grouped(((keys.get(note.event, ""), note.kind), note) for note in tables.notes)

    def ledger(self) -> Ledger:
        committed = effective = 0
        for intent in self._intents:
            is_committed, missing = self._judge(intent)
            committed += is_committed
            effective += is_committed and not missing
            if intent.acked and (missing or not is_committed):
                self._fault("lost", f"{intent.kind} {intent.key}: {missing or 'no row'}")
        self._intruders()
        self._repetitions()
        self._deliveries()
        self._poison()
        self._stocks()
        self._leftovers()
        counts = {name: len(self._faults[name]) for name in ("lost", "ghosts", "duplicates", "stuck")}
        return Ledger(
            attempted=len(self._intents),
            acked=sum(intent.acked for intent in self._intents),
            committed=committed,
            effects=effective,
            faults=tuple(f"{name}: {text}" for name, texts in self._faults.items() for text in texts),
            **counts,
        )

    def _judge(self, intent: Intent) -> tuple[bool, str]:
        """Say whether the row of ``intent`` is there, and what of its effect is not."""
        if intent.kind == "registration":
            user = self._users.get(intent.key)
            return user is not None, self._untold(user, "user.created", "welcome") if user else ""
        if intent.kind == "order":
            orders = self._orders.get(intent.key, [])
            return bool(orders), next((fault for order in orders if (fault := self._unsettled(order))), "")
        order = self._by_id.get(intent.key)
        committed = order is not None and order.status == "cancelled"
        return committed, self._unsettled(order) if order is not None and committed else ""

    def _unsettled(self, order: Order) -> str:
        if order.status not in NOTE_OF:
            return f"is {order.status}"
        if (held := self._tables.reservations.get(order.id, "none")) not in RESERVATIONS_OF[order.status]:
            return f"is {order.status}, and its reservation {held}"
        if not self._events.get((order.id, "order.placed")):
            return "has no order.placed"
        return self._untold(order.id, f"order.{order.status}", NOTE_OF[order.status])

    def _untold(self, key: str, event: str, kind: str) -> str:
        """Say what is missing of the event, its notification and its mail."""
        if not self._events.get((key, event)):
            return f"has no {event}"
        notes = self._notes.get((key, kind), [])
        if not notes:
            return f"has no notification {kind}"
        return "" if any((note.event, kind) in self._tables.mails for note in notes) else f"has no mail {kind}"

    def _intruders(self) -> None:
        """Find effects that nobody asked for."""
        wanted = {kind: {each.key for each in self._intents if each.kind == kind} for kind in ("order", "registration")}
        cancelled = {intent.key for intent in self._intents if intent.kind == "cancellation"}
        for order in self._tables.orders:
            if order.key not in wanted["order"]:
                self._fault("ghosts", f"order {order.id}: nobody placed it")
            if order.status == "cancelled" and order.id not in cancelled:
                self._fault("ghosts", f"order {order.id}: nobody cancelled it")
        for user, email in self._tables.users.items():
            if email not in wanted["registration"]:
                self._fault("ghosts", f"user {user}: nobody registered {email}")
        known = {event.id for event in self._tables.events}
        for event in {
            *(seen.event for seen in self._tables.seen),
            *(note.event for note in self._tables.notes),
        } - known:
            self._fault("ghosts", f"event {event}: nobody published it")

    def _repetitions(self) -> None:
        """Find rows that should be one."""
        for key, orders in self._orders.items():
            self._surplus(len(orders), f"orders for {key}")
        for intent in self._intents:
            self._surplus(len(intent.answers), f"answers to {intent.kind} {intent.key}")
        for (key, type_), events in self._events.items():
            if type_ != "notification.queued":  # its key is the user, who has many
                self._surplus(len(events), f"events {type_} of {key}")
        for (key, kind), notes in self._notes.items():
            self._surplus(len(notes), f"notifications {kind} of {key}")

    def _deliveries(self) -> None:
        """Hold what each witness wrote down against what was published for it."""
        counts = Counter((seen.service, seen.event) for seen in self._tables.seen)
        for event in self._tables.events:
            for service in (name for name, types in HEARD.items() if event.type.startswith(types)):
                times = counts[service, event.id]
                self._surplus(times, f"times {service} handled {event.type} {event.id}")
                if not times:
                    self._fault("lost", f"{event.type} {event.id}: never handled by {service}")

    def _poison(self) -> None:
        """What can't be read is kept, by everybody who heard it."""
        kept = {(dead.service, dead.event) for dead in self._tables.dead if dead.reason == "invalid"}
        for event in self._tables.poison:
            for service in (name for name, types in HEARD.items() if "order." in types):
                if (service, event) not in kept:
                    self._fault("lost", f"{event}: {service} has no dead letter")

    def _stocks(self) -> None:
        """What was there and what is left differ by what the confirmed orders hold."""
        held: Counter[str] = Counter()
        for order in self._tables.orders:
            if order.status == "confirmed":
                held.update(order.items)
        for product, (before, after) in self._tables.stock.items():
            if after != before - held[product]:
                text = f"stock of {product}: {before} before, {held[product]} held, {after} left"
                self._fault("duplicates", text)

    def _leftovers(self) -> None:
        """Find what still waits."""
        for order in self._tables.orders:
            if order.status == "pending":
                self._fault("stuck", f"order {order.id}: pending")
        for event in self._tables.events:
            if not event.sent:
                self._fault("stuck", f"{event.type} {event.id}: not sent")
        for note in self._tables.notes:
            if not note.sent:
                self._fault("stuck", f"notification {note.kind} of {note.event}: queued")
        self._faults["stuck"] += ["an event that waits to be handled again"] * self._tables.waiting
        for dead in self._tables.dead:
            if dead.event not in self._tables.poison:
                self._fault("stuck", f"dead letter {dead.event} of {dead.subscription} ({dead.service}): {dead.reason}")

    def _surplus(self, count: int, what: str) -> None:
        for _ in range(count - 1):
            self._fault("duplicates", f"{count} {what}")

    def _fault(self, name: str, text: str) -> None:
        self._faults[name].append(text)


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    groups: dict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return dict(groups)
