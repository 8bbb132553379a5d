"""Stories as trees, statuses and dead letters as tables."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from bandstand.cli.events.joining import Delivery, Entry, Event, Story

__all__ = ["letter_table", "status_table", "story_trees"]

_LONGEST: Final = 100
_COLOURS: Final = {"handled": "green", "dead": "red", "retrying": "yellow", "running": "yellow", "waiting": "yellow"}
_HAPPENED: Final = {
    "failed": "attempt {number} failed",
    "died": "the process ended in attempt {number}",
    "dead": "given up after attempt {number}",
}


# --- traces ---------------------------------------------------------------------------------------
def story_trees(story: Story) -> Iterator[Tree]:
    """A tree for each event that no other one caused: below it its way, and what it caused."""
    for root in story.roots():
        title = _title(story, root).append(f", correlation {root.correlation_id or '?'}", "not bold dim")
        yield _branch(story, root, Tree(title), began=root.published_at)
    strays: dict[str, list[Delivery]] = {}
    for delivery in story.strays():
        strays.setdefault(delivery.event_id, []).append(delivery)
    for event_id, deliveries in strays.items():
        tree = Tree(Text(f"? {event_id}  no service remembers publishing it", "bold"))
        for delivery in deliveries:
            _add_delivery(tree, delivery, began=None)
        yield tree


def _title(story: Story, event: Event) -> Text:
    text = Text(f"{event.type} {event.id}", "bold reverse" if event.id == story.asked else "bold")
    text.append(f"  {event.source}, key {event.key!r}", "not bold dim")
    return text


def _branch(story: Story, event: Event, tree: Tree, *, began: datetime) -> Tree:
    tree.add(_line(event.published_at, began, "published"))
    if event.relayed_at is not None:
        tree.add(_line(event.relayed_at, began, "relayed"))
    elif event.published_here:
        tree.add(Text(f"not relayed yet{_because(event.relay_error)}", "yellow"))
    for delivery in sorted(story.of(event.id), key=_first_moment):
        _add_delivery(tree, delivery, began=began)
    for child in story.children(event):
        _branch(story, child, tree.add(_title(story, child)), began=began)
    return tree


def _add_delivery(tree: Tree, delivery: Delivery, *, began: datetime | None) -> None:
    place = f"{delivery.service}  {delivery.subscription}  "
    if delivery.state == "handled" and delivery.at is not None and not delivery.history:
        tree.add(_line(delivery.at, began, place).append("handled", _COLOURS["handled"]))
        return
    node = tree.add(Text(place).append_text(_state(delivery)))
    for entry in delivery.history:
        node.add(_line(entry.at, began, _happened(entry)))
    if delivery.state == "handled" and delivery.at is not None:
        node.add(_line(delivery.at, began, "handled"))


def _state(delivery: Delivery) -> Text:
    words = {
        "expected": "nothing yet",
        "waiting": "waits for its turn",
        "running": "is being handled again",
        "retrying": f"next attempt {delivery.due_at:%H:%M:%S}" if delivery.due_at else "is retried",
        "dead": f"dead letter {delivery.letter}",
    }
    return Text(words.get(delivery.state, delivery.state), _COLOURS.get(delivery.state, "dim"))


def _happened(entry: Entry) -> str:
    by = f" by {entry.by}" if entry.by else ""
    why = "" if entry.what == "edited" else _because(entry.text)
    return f"{_HAPPENED.get(entry.what, entry.what).format(number=entry.number)}{by}{why}"


def _line(at: datetime, began: datetime | None, text: str) -> Text:
    since = "" if began is None else f"{(at - began).total_seconds():+10.3f} s"
    return Text.assemble((f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} {since}  ", "dim"), text)


def _first_moment(delivery: Delivery) -> tuple[bool, float]:
    moments = [entry.at for entry in delivery.history[:1]] + ([delivery.at] if delivery.at else [])
    return (not moments, min(moments).timestamp() if moments else 0.0)


def _because(error: str) -> str:
    return f": {_harmless((error.strip().splitlines() or [''])[-1][:_LONGEST])}" if error else ""


def _harmless(text: str) -> str:
    """What others wrote must not control the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


# --- status ---------------------------------------------------------------------------------------
def status_table(statuses: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each outbox and each subscription."""
    table = Table.grid(padding=(0, 3))
    for number in range(8):
        table.add_column(justify="left" if number < 2 else "right")
    names = ("SERVICE", "", "WAITING", "IN FLIGHT", "RETRYING", "BEHIND", "DEAD", "OLDEST")
    table.add_row(*(Text(name, "bold") for name in names))
    for service, status in statuses.items():
        box = status["outbox"]
        parked = _number(box["parked"], "red")
        free = box["pending"] - box["in_flight"] - box["parked"]
        age = _age(box["oldest"])
        table.add_row(Text(service), "outbox", _number(free), _number(box["in_flight"]), parked, "", "", age)
        for each in status["subscriptions"]:
            table.add_row("", *_subscription(each))
    return table


def _subscription(each: Mapping[str, Any]) -> Iterator[str | Text]:
    yield Text(each["name"]) if each["known"] else Text(f"{each['name']} (no handler any more)", "red")
    yield _number(each["at_broker"])
    yield _number(None if each["in_hand"] is None else each["in_hand"] + each["running"])
    yield _number(each["retrying"], "yellow")
    yield _number(each["waiting"])
    yield _number(each["dead"], "red")
    yield _age(each["oldest"])


def _number(value: int | None, colour: str = "") -> Text:
    return Text("?" if value is None else str(value), colour if value else "dim")


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else ""


# --- dead letters ---------------------------------------------------------------------------------
def letter_table(letters: Mapping[str, list[dict[str, Any]]]) -> Table:
    """One row for each dead letter."""
    table = Table.grid(padding=(0, 3))
    table.add_row(*(Text(name, "bold") for name in ("SERVICE", "ID", "DIED", "SUBSCRIPTION", "TYPE", "ERROR")))
    for service, found in letters.items():
        for each in found:
            died = datetime.fromisoformat(each["died_at"]).strftime("%Y-%m-%d %H:%M:%S")
            cells = (
                service,
                str(each["id"]),
                died,
                each["subscription"],
                each["type"] or "?",
                _harmless(each["error"]),
            )
            table.add_row(*map(Text, cells))
    return table
