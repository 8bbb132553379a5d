"""Handlers that take many events in one transaction."""

from collections.abc import Sequence
from zlib import crc32

import pytest
from django.contrib.auth.models import Group
from django.db import Error

from bandstand.context import current
from bandstand.events import Message
from bandstand.events.gathering import Gathering
from bandstand.events.models import DeadLetter, Delivery, InboxMessage
from bandstand.events.subscriptions import Subscription
from bandstand.exceptions import ConfigurationError

from .conftest import Desk, FakeIncoming, InlineLanes, UserCreated


class Handler:
    """Writes a row for each event, and remembers the batches; ``poison`` is the user over whom it fails."""

    def __init__(self, poison: str = "") -> None:
        self.batches: list[list[str]] = []
        self.poison = poison

    def __call__(self, events: list[UserCreated], messages: list[Message]) -> None:
        assert [message.id for message in messages] == [event.user_id for event in events]
        self.batches.append([event.user_id for event in events])
        for event in events:
            Group.objects.create(name=event.user_id)
            if event.user_id == self.poison:
                raise ValueError("poison")

    __name__ = __qualname__ = "handler"


def batching(desk: Desk, handler: object, size: int = 10) -> None:
    def handle(events: list[UserCreated], messages: list[Message]) -> None:
        handler(events, messages)  # type: ignore[operator]

    desk.handle(handle, batch=size)


def bring(desk: Desk, names: Sequence[str], *, key: str = "7", repeated: bool = False) -> list[FakeIncoming]:
    """Bring events while the threads are busy, then let them go."""
    desk.lanes.busy = True
    brought = [
        desk.bring(UserCreated(user_id=name), message_id=name, broker_id=name, key=key, repeated=repeated)
        for name in names
    ]
    desk.lanes.go()
    return brought


def keys_of_one_part(desk: Desk) -> list[str]:
    return [key for key in map(str, range(100)) if crc32(key.encode()) % desk.settings.threads == 0]


def test_what_gathers_is_handled_together(desk: Desk) -> None:
    """Events that come while the threads are busy are handled in batches of at most the size, in order."""
    handler = Handler()
    batching(desk, handler, size=3)
    brought = bring(desk, list("abcdefgh"))
    assert handler.batches == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert all(incoming.settled == ["acknowledged"] for incoming in brought)
    assert InboxMessage.objects.count() == 8


def test_a_quiet_subscription_handles_each_at_once(desk: Desk) -> None:
    """Nothing waits for a batch to fill."""
    handler = Handler()
    batching(desk, handler)
    desk.bring(UserCreated(user_id="a"), message_id="a")
    assert handler.batches == [["a"]]


def test_a_poisonous_event_costs_only_itself(desk: Desk) -> None:
    """A batch that fails leaves nothing; then each event is handled alone, and the one that fails is retried."""
    handler = Handler(poison="b")
    batching(desk, handler)
    desk.lanes.busy = True
    for name, key in zip("abc", keys_of_one_part(desk), strict=False):
        desk.bring(UserCreated(user_id=name), message_id=name, broker_id=name, key=key)
    desk.lanes.go()
    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert set(Group.objects.values_list("name", flat=True)) == {"a", "c"}
    assert list(Delivery.objects.values_list("message_id", "attempts")) == [("b", 1)]


def test_the_key_of_a_poisonous_event_waits(desk: Desk) -> None:
    """Events behind the one that failed wait for it, in their order, also when they come in a later batch."""
    handler = Handler(poison="b")
    batching(desk, handler)
    bring(desk, ["a", "b", "c"])
    bring(desk, ["d", "e"])
    assert set(Group.objects.values_list("name", flat=True)) == {"a"}
    handler.poison = ""
    handler.batches.clear()
    for _ in range(5):
        desk.pass_time()
    assert handler.batches == [["b"], ["c"], ["d"], ["e"]]
    assert not Delivery.objects.exists()


def test_a_repetition_in_a_batch_has_no_effect(desk: Desk) -> None:
    """Of a batch only those are handled that were not before; all are settled."""
    handler = Handler()
    batching(desk, handler)
    bring(desk, ["a", "b"])
    brought = bring(desk, ["b", "c", "a"])
    assert handler.batches == [["a", "b"], ["c"]]
    assert all(incoming.settled == ["acknowledged"] for incoming in brought)


def test_without_the_inbox_a_batch_would_repeat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tooth of the rule above."""
    monkeypatch.setattr("bandstand.failpoints.switched_off", lambda name: name == "consumer.inbox")
    seen: list[str] = []
    batching(desk, lambda events, messages: seen.extend(event.user_id for event in events))
    bring(desk, ["a", "b"])
    bring(desk, ["a", "b"])
    assert seen == ["a", "b", "a", "b"]


def test_what_may_have_killed_its_process_is_not_handled_with_others(desk: Desk) -> None:
    """An event that comes again unsettled is counted as a death and handled alone, and nothing overtakes it."""
    handler = Handler()
    batching(desk, handler)
    bring(desk, ["a", "b"], repeated=True)
    bring(desk, ["c", "d"])
    assert handler.batches == []
    assert list(Delivery.objects.order_by("id").values_list("message_id", "deaths")) == [
        ("a", 1), ("b", 1), ("c", 0), ("d", 0),
    ]  # fmt: skip
    for _ in range(4):
        desk.pass_time()
    assert handler.batches == [["a"], ["b"], ["c"], ["d"]]


def test_what_can_t_be_read_is_a_dead_letter_and_the_others_go_on(desk: Desk) -> None:
    """An event that does not fit the view is not in the batch."""
    handler = Handler()
    batching(desk, handler)
    desk.lanes.busy = True
    desk.bring(UserCreated(user_id="a"), message_id="a")
    odd = desk.bring(b'{"specversion":"1.0","id":"x","source":"user-service","type":"user.created","data":{}}')
    desk.bring(UserCreated(user_id="b"), message_id="b")
    desk.lanes.go()
    assert sorted(name for batch in handler.batches for name in batch) == ["a", "b"]
    assert odd.settled == ["acknowledged"]
    assert DeadLetter.objects.get().reason == "invalid"


def test_a_database_that_is_down_gives_the_batch_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is counted and nothing acknowledged; the broker brings all of them again."""
    batching(desk, Handler())

    def down(*args: object) -> None:
        raise Error("down")

    with monkeypatch.context() as patched:
        patched.setattr("bandstand.events.inbox.Inbox.enter_together", down)
        patched.setattr("django.db.backends.base.base.BaseDatabaseWrapper.close", lambda self: None)
        brought = bring(desk, ["a", "b"])
    assert [incoming.settled for incoming in brought] == [["released for 1.0"]] * 2
    assert not Delivery.objects.exists()


def test_the_context_of_each_event_can_be_had(desk: Desk) -> None:
    """A batch has a context of its own with a deadline; that of an event is the message's to give."""
    seen = []

    def handler(events: list[UserCreated], messages: list[Message]) -> None:
        seen.append((current(), messages[0].context()))

    desk.handle(handler, batch=10)
    bring(desk, ["a", "b"])
    [(batch, event)] = seen
    assert batch.causation_id is None
    assert 0 < batch.remaining() <= desk.settings.handler_timeout
    assert (event.correlation_id, event.causation_id) == ("correlation-1", "a")


def test_one_key_is_in_one_part() -> None:
    """All of a key are handled in the order in which they came, whatever else gathers."""
    lanes = InlineLanes()
    lanes.busy = True
    batches: list[list[tuple[int, int]]] = []
    gathering = Gathering(lanes, "group", size=4, parts=3, handle=batches.append)
    for number in range(60):
        gathering.add(str(number % 7), (number % 7, number))
    lanes.go()
    for key in range(7):
        numbers = [number for batch in batches for each, number in batch if each == key]
        assert numbers == sorted(numbers)
        assert len(numbers) == len(range(key, 60, 7))
    assert max(map(len, batches)) == 4


def test_a_batch_that_raises_does_not_stop_the_next(desk: Desk) -> None:
    """What gathered behind it is handled all the same."""
    lanes = InlineLanes()
    lanes.busy = True
    seen: list[list[int]] = []

    def handle(batch: list[int]) -> None:
        seen.append(batch)
        if len(seen) == 1:
            raise ValueError

    gathering = Gathering(lanes, "group", size=2, parts=1, handle=handle)
    for number in range(4):
        gathering.add("key", number)
    with pytest.raises(ValueError):
        lanes.go()
    lanes.go()
    assert seen == [[0, 1], [2, 3]]


def takes_one(event: UserCreated) -> None: ...


def takes_many(events: list[UserCreated]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "batch", "says"),
    [
        (takes_one, 50, r"events: list\[OrderPlaced\]"),
        (takes_many, None, r"@subscribe\(…, batch=50\)"),
        (takes_many, 1, "from 2 to 1000"),
        (takes_many, 5000, "from 2 to 1000"),
    ],
)
def test_a_batch_and_its_handler_must_fit(handler: object, batch: int | None, says: str) -> None:
    """Whoever takes a list says how many, whoever says how many takes a list."""
    with pytest.raises(ConfigurationError, match=says):
        Subscription(name="x", pattern="user.created", handler=handler, batch=batch)  # type: ignore[arg-type]


def test_a_batch_has_room_at_the_broker(desk: Desk) -> None:
    """The broker may bring a batch that gathers while one is handled, on each thread, within bounds."""
    desk.handle(takes_many, batch=50)
    desk.handle(takes_one, name="one")
    desk.handle(takes_many, name="huge", batch=1000)
    options = desk.consumer._broker.options
    found = {each.name: desk.consumer._binding(each).room(options) for each in desk.registry}
    assert found == {"welcome": 400, "one": 16, "huge": 1000}
