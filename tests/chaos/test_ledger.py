"""The accounting finds what it should, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.ledger import Dead, Event, Intent, Ledger, Note, Order, Seen, Tables, account

EMAIL, BUYER, ORDER = "ada@chaos.example.com", "u1", "o1"
INTENTS = (
    Intent(kind="registration", key=EMAIL, acked=True, answers=frozenset({BUYER})),
    Intent(kind="order", key="u1:3", acked=True, answers=frozenset({ORDER})),
)
QUIET = Tables(
    users={BUYER: EMAIL},
    orders=(Order(id=ORDER, key="u1:3", status="confirmed", items={"lamp": 3}),),
    reservations={ORDER: "held"},
    stock={"lamp": (10, 7)},
    notes=(Note(event="e1", kind="welcome"), Note(event="e4", kind="order_confirmed")),
    mails=frozenset({("e1", "welcome"), ("e4", "order_confirmed")}),
    events=(
        Event(id="e1", type="user.created", key=BUYER),
        Event(id="e2", type="order.placed", key=ORDER),
        Event(id="e3", type="stock.reserved", key=ORDER),
        Event(id="e4", type="order.confirmed", key=ORDER),
    ),
    seen=(
        Seen(service="notification-service", event="e1"),
        Seen(service="notification-service", event="e2"),
        Seen(service="product-service", event="e2"),
        Seen(service="order-service", event="e3"),
        Seen(service="notification-service", event="e4"),
        Seen(service="product-service", event="e4"),
    ),
)


def zeros(ledger: Ledger) -> dict[str, int]:
    counts = {name: getattr(ledger, name) for name in ("lost", "ghosts", "duplicates", "stuck")}
    return {name: count for name, count in counts.items() if count}


def test_what_adds_up_is_balanced() -> None:
    """Everything asked for is there once: each zero is a zero, and the line says so."""
    ledger = account(INTENTS, QUIET).with_kills(4)
    assert ledger.balanced
    assert ledger.faults == ()
    assert str(ledger) == (
        "ledger: attempted=2 acked=2 committed=2 effects=2 kills=4 lost=0 ghosts=0 duplicates=0 stuck=0"
    )


def test_an_effect_without_an_answer_is_allowed() -> None:
    """An intent whose answer nobody saw may have its effect."""
    ledger = account([replace(intent, acked=False, answers=frozenset()) for intent in INTENTS], QUIET)
    assert (ledger.acked, ledger.effects, ledger.balanced) == (0, 2, True)


def test_an_attempt_without_an_answer_may_come_to_nothing() -> None:
    """An intent that nobody answered need not be committed."""
    unanswered = Intent(kind="order", key="u1:4")
    ledger = account([*INTENTS, unanswered], QUIET)
    assert (ledger.attempted, ledger.committed, ledger.balanced) == (3, 2, True)


@pytest.mark.parametrize(
    "missing",
    [
        {"users": {}},
        {"orders": (), "stock": {"lamp": (10, 10)}},
        {"notes": QUIET.notes[:1]},
        {"mails": frozenset({("e1", "welcome")})},
        {"seen": QUIET.seen[1:]},
        {"reservations": {}},
    ],
    ids=lambda missing: next(iter(missing)),
)
def test_what_was_acknowledged_and_is_missing_is_lost(missing: dict[str, Any]) -> None:
    """An acknowledged intent without its row, its notification, its mail or an event's handling is lost."""
    assert zeros(account(INTENTS, replace(QUIET, **missing))) == {"lost": 1}


@pytest.mark.parametrize(
    "surplus",
    [
        {"orders": (*QUIET.orders, Order(id="o2", key="u1:3", status="rejected"))},
        {"notes": (*QUIET.notes, Note(event="e4", kind="order_confirmed"))},
        {"seen": (*QUIET.seen, QUIET.seen[0])},
        {"stock": {"lamp": (10, 4)}},
        {"events": (*QUIET.events, Event(id="e1", type="user.created", key=BUYER))},
    ],
    ids=lambda surplus: next(iter(surplus)),
)
def test_what_happened_twice_is_a_duplicate(surplus: dict[str, Any]) -> None:
    """A second order for one key, notification, run of a handler, or taking of stock is a duplicate."""
    assert zeros(account(INTENTS, replace(QUIET, **surplus)))["duplicates"] == 1


def test_two_answers_to_one_key_are_a_duplicate() -> None:
    """A key that was answered with two orders is a fault even where only one is left."""
    told_twice = replace(INTENTS[1], answers=frozenset({ORDER, "o2"}))
    assert zeros(account([INTENTS[0], told_twice], QUIET)) == {"duplicates": 1}


@pytest.mark.parametrize(
    ("intents", "tables"),
    [
        (INTENTS[:1], QUIET),
        (INTENTS[1:], QUIET),
        (INTENTS, replace(QUIET, seen=(*QUIET.seen, Seen(service="order-service", event="e9")))),
        (INTENTS, replace(QUIET, notes=(*QUIET.notes, Note(event="e9", kind="welcome")))),
    ],
    ids=["order", "user", "handling", "notification"],
)
def test_what_nobody_asked_for_is_a_ghost(intents: tuple[Intent, ...], tables: Tables) -> None:
    """An order, a user, a notification or a handling that comes from nowhere is a ghost."""
    assert zeros(account(intents, tables)) == {"ghosts": 1}


def test_an_order_that_nobody_cancelled_is_a_ghost() -> None:
    """A cancellation needs somebody who asked for it."""
    cancelled = replace(QUIET.orders[0], status="cancelled")
    assert account(INTENTS, replace(QUIET, orders=(cancelled,))).ghosts == 1


@pytest.mark.parametrize(
    "left",
    [
        {"waiting": 1},
        {"dead": (Dead(service="order-service", subscription="confirm", event="e3", reason="failed"),)},
        {"events": (replace(QUIET.events[0], sent=False), *QUIET.events[1:])},
        {"notes": (replace(QUIET.notes[0], sent=False), *QUIET.notes[1:])},
    ],
    ids=lambda left: next(iter(left)),
)
def test_what_still_waits_is_stuck(left: dict[str, Any]) -> None:
    """An event that is not sent, waits for another attempt or is dead, and a mail that is queued, are stuck."""
    assert zeros(account(INTENTS, replace(QUIET, **left))) == {"stuck": 1}


def test_a_pending_order_is_stuck_and_lost() -> None:
    """An acknowledged order that stays pending has no effect, and waits for ever."""
    pending = replace(QUIET.orders[0], status="pending")
    ledger = account(INTENTS, replace(QUIET, orders=(pending,), stock={}))
    assert zeros(ledger) == {"lost": 1, "stuck": 1}


@pytest.mark.parametrize("reservation", ["released", "rejected"])
def test_a_cancelled_order_gives_back_what_it_held(reservation: str) -> None:
    """A cancellation counts when the stock is back, or was never held."""
    cancelled = replace(QUIET.orders[0], status="cancelled")
    off = Event(id="e5", type="order.cancelled", key=ORDER)
    tables = replace(
        QUIET,
        orders=(cancelled,),
        reservations={ORDER: reservation},
        stock={"lamp": (10, 10)},
        events=(*QUIET.events, off),
        notes=(*QUIET.notes, Note(event="e5", kind="order_cancelled")),
        mails=QUIET.mails | {("e5", "order_cancelled")},
        seen=(*QUIET.seen, *(Seen(service=f"{name}-service", event="e5") for name in ("product", "notification"))),
    )
    cancellation = Intent(kind="cancellation", key=ORDER, acked=True, answers=frozenset({ORDER}))
    assert zeros(account([*INTENTS, cancellation], tables)) == {}
    still_held = replace(tables, reservations={ORDER: "held"})
    assert account([*INTENTS, cancellation], still_held).lost == 2, "the order's and the cancellation's"


def test_poison_is_kept_by_everybody_who_heard_it() -> None:
    """What nobody can read must be a dead letter of each service that listens; one that lost it is found."""
    products, notices = (
        Dead(service=service, subscription="witness.order", event="poison-1", reason="invalid")
        for service in ("product-service", "notification-service")
    )
    kept = replace(QUIET, poison=frozenset({"poison-1"}), dead=(products, notices))
    assert account(INTENTS, kept).balanced
    assert zeros(account(INTENTS, replace(kept, dead=(products,)))) == {"lost": 1}
    assert zeros(account(INTENTS, replace(kept, dead=(products, replace(notices, reason="failed"))))) == {"lost": 1}
