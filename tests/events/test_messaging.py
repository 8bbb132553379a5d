"""The names that people bring from tutorials with pika, and the page for them."""

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction

from bandstand.events import Event, Message, MessageConsumer, MessagePublisher
from bandstand.events.models import OutboxMessage
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.subscriptions import REGISTRY
from bandstand.exceptions import ConfigurationError, InvalidEvent, NotInTransaction
from bandstand.testing.events import deliver_events, published_events

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "come-from-pika.md").read_text()


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """What a test subscribes is gone after it."""
    before = {subscription.name for subscription in REGISTRY}
    yield
    for subscription in list(REGISTRY):
        if subscription.name not in before:
            REGISTRY.remove(subscription.name)


def publish(*arguments: Any, **options: Any) -> str:
    with transaction.atomic():
        return MessagePublisher().publish(*arguments, **options)


@pytest.mark.django_db
def test_the_page_is_true() -> None:
    """Every Python block of the page runs; what it publishes reaches what it subscribes, also after the last step."""
    *faces, typed = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "accounts.events"}
    for block in faces:
        exec(compile(block, "come-from-pika.md", "exec"), namespace)
    namespace["register"]("ada")
    publish("order.placed", {"order_id": "7"})
    assert deliver_events() == 2
    assert set(Group.objects.values_list("name", flat=True)) == {"user.created ada", "order 7"}
    REGISTRY.remove("mail_queue.user.created")
    exec(compile(typed, "come-from-pika.md", "exec"), namespace)
    namespace["register"]("bob")
    namespace["register_typed"]("eve")
    assert deliver_events() == 2
    assert set(Group.objects.filter(name__startswith="welcome").values_list("name", flat=True)) == {
        "welcome bob", "welcome eve",
    }  # fmt: skip


@pytest.mark.django_db
def test_a_message_is_an_event_like_any_other() -> None:
    """It lies in the outbox with type, version, key and context, and UUIDs as text."""
    identifier = publish("user.created", {"user_id": UUID(int=7)}, key="7")
    [event] = published_events()
    assert (event.id, event.type, event.version, event.key) == (identifier, "user.created", 1, "7")
    assert event.data == {"user_id": "00000000-0000-0000-0000-000000000007"}
    publish("user.created", {}, version=2)
    unordered = published_events()[1]
    assert (unordered.version, unordered.key) == (2, unordered.id)


@pytest.mark.django_db
def test_a_rollback_takes_the_message_along() -> None:
    """There are no ghosts."""
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        User.objects.create(username="ada")
        MessagePublisher().publish_event("user.created", {"user_id": "1"})
        raise RuntimeError
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_it_says_what_to_do() -> None:
    """The tutorial's place for it, after save(), is refused where nothing is open."""
    with pytest.raises(NotInTransaction, match=r"publish\(user.created\).*transaction.atomic"):
        MessagePublisher().publish("user.created", {})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("user_created", {}), 'words joined by dots.*"user.created"'),
        (("UserCreated", {}), "words joined by dots"),
        (("", {}), "words joined by dots"),
        (("a." + "b" * 200, {}), "words joined by dots"),
        (("events", "user.created", {}), "Leave the exchange out"),
        (("user.created", "{}"), "do not encode the message"),
        (("user.created", {"user": User}), "can't be written as JSON"),
        (("user.created", {"text": "x" * 600_000}), "above the limit"),
    ],
)
def test_a_message_that_is_none_is_refused(arguments: tuple[Any, ...], says: str) -> None:
    """What pika took and what would end as rubbish elsewhere gets an error that says what to write."""
    with pytest.raises(InvalidEvent, match=says):
        publish(*arguments)
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 201, "a\n", 7])
def test_a_key_must_be_one(key: Any) -> None:
    """The same keys as everywhere."""
    with pytest.raises(InvalidEvent, match="with the key"):
        publish("user.created", {}, key=key)


@pytest.mark.django_db
def test_a_message_must_fit_the_declared_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service declares a class for that type and version, the dictionary is held to it."""

    class Declared(Event, type="user.renamed", version=1):
        name: str

    monkeypatch.setattr(PUBLICATIONS, "_declared", {Declared})
    publish("user.renamed", {"name": "ada", "more": 1})
    publish("user.renamed", {"name": 7}, version=2)
    with pytest.raises(InvalidEvent, match=r"Declared does not hold what its class says.*name"):
        publish("user.renamed", {"name": 7})


def test_nobody_tells_it_where_the_broker_is() -> None:
    """Host, URL or credentials in the constructor are an error that names BROKER_URL, not silently ignored."""
    with pytest.raises(ConfigurationError, match="BROKER_URL"):
        MessagePublisher("localhost")
    with pytest.raises(ConfigurationError, match="BROKER_URL"):
        MessagePublisher(host="localhost")
    with pytest.raises(ConfigurationError, match=r"BROKER_URL.*exchange"):
        MessageConsumer("queue", print, routing_keys=["user.created"], exchange="events")


def test_code_that_connects_and_closes_still_runs() -> None:
    """There is nothing to connect, and no harm in asking for it."""
    with MessagePublisher() as publisher:
        publisher.connect()
    publisher.close()


def one(message: dict[str, Any]) -> None: ...


def two(message: dict[str, Any], about: Message) -> None: ...


def pika(ch: Any, method: Any, properties: Any, body: Any) -> None: ...


def nothing() -> None: ...


def test_queues_are_subscriptions() -> None:
    """One routing key has the queue's name, several have one subscription each; the same twice is no change."""
    MessageConsumer("alone", one, routing_keys=["user.created"], source="user-service")
    for _ in range(2):
        MessageConsumer("several", two, routing_keys=["user.*", "order.placed"])
    found = {each.name: (each.pattern, each.source) for each in REGISTRY}
    assert found["alone"] == ("user.created", "user-service")
    assert (found["several.user.any"], found["several.order.placed"]) == (("user.*", None), ("order.placed", None))


def test_two_callbacks_of_one_queue_are_refused() -> None:
    """A queue that two callbacks share would give each half of the messages; the error names both."""
    MessageConsumer("shared", one, routing_keys=["user.created"])
    with pytest.raises(ConfigurationError, match=r"one and .*two"):
        MessageConsumer("shared", two, routing_keys=["user.created"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"callback": pika, "routing_keys": ["a.b"]}, "without json.loads and basic_ack"),
        ({"callback": nothing, "routing_keys": ["a.b"]}, "must take the data"),
        ({"callback": None, "routing_keys": ["a.b"]}, "no callback"),
        ({"callback": "module.function", "routing_keys": ["a.b"]}, "needs a function"),
        ({"callback": one, "routing_keys": "a.b"}, r"routing_keys=\['a.b'\]"),
        ({"callback": one, "routing_keys": ["user.#"]}, r"with \* for a word"),
        ({"callback": one, "routing_keys": ["user_created"]}, "write an event type"),
    ],
)
def test_a_consumer_that_can_t_work_says_why(options: dict[str, Any], says: str) -> None:
    """Each habit that does not hold here has an error that teaches."""
    with pytest.raises(ConfigurationError, match=says):
        MessageConsumer("queue", **options)


def test_a_queue_needs_a_name_that_brokers_take() -> None:
    """Upper case and spaces are refused, as for every subscription."""
    with pytest.raises(ConfigurationError, match="80 lower-case letters"):
        MessageConsumer("Order Queue", one, routing_keys=["a.b"])


def test_consuming_needs_something_to_consume() -> None:
    """A consumer without routing keys is an error, not a process that waits for ever."""
    with pytest.raises(ConfigurationError, match="Nothing says what"):
        MessageConsumer("queue").start_consuming()


def test_consuming_needs_a_process_of_its_own() -> None:
    """A thread of the web server, as some tutorials have it, is refused with what to run instead."""
    consumer = MessageConsumer("queue", one, routing_keys=["a.b"])
    raised: list[BaseException] = []

    def run() -> None:
        try:
            consumer.start_consuming()
        except ConfigurationError as error:
            raised.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join(10)
    assert "manage.py worker" in str(raised[0])
