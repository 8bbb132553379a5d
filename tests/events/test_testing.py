"""The helpers that a service's own tests use, in both kinds of database tests."""

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from bandstand.events import Event, Message, publish
from bandstand.events.subscriptions import Registry, Subscription
from bandstand.exceptions import InvalidEvent
from bandstand.testing.events import deliver_events, published_events, receive_event

from .conftest import UserCreated


class Welcomed(Event, type="user.welcomed", version=1):
    user_id: str


@pytest.fixture
def registry() -> Registry:
    found = Registry()

    def welcome(event: UserCreated, message: Message) -> None:
        if event.user_id == "bad":
            raise ValueError("bad user")
        Group.objects.create(name=event.user_id)
        publish(Welcomed(user_id=event.user_id), key=message.key)

    def count(event: Welcomed) -> None:
        Group.objects.create(name=f"{event.user_id} was welcomed")

    found.add(Subscription(name="welcome", pattern="user.created", handler=welcome))
    found.add(Subscription(name="count", pattern="user.welcomed", handler=count))
    return found


def deliver(registry: Registry) -> None:
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    assert [event.type for event in published_events()] == ["user.created"]
    assert deliver_events(registry=registry) == 2
    assert [(event.type, event.delivered) for event in published_events()] == [
        ("user.created", True),
        ("user.welcomed", True),
    ]
    [welcomed] = published_events("user.welcomed")
    assert welcomed.message.causation_id == published_events("user.created")[0].id
    assert Group.objects.count() == 2
    assert deliver_events(registry=registry) == 0


@pytest.mark.django_db
def test_events_go_all_their_way_inside_a_test_s_transaction(registry: Registry) -> None:
    """With the db fixture, whose transaction is rolled back, events and their consequences are delivered."""
    deliver(registry)


@pytest.mark.django_db(transaction=True)
def test_events_go_all_their_way_with_real_commits(registry: Registry) -> None:
    """With the transactional_db fixture the same happens."""
    deliver(registry)


@pytest.mark.django_db
def test_a_handler_s_error_is_the_test_s(registry: Registry) -> None:
    """What a handler raises is raised, as it is, and what it wrote is undone."""
    with transaction.atomic():
        publish(UserCreated(user_id="bad"), key="1")
    with pytest.raises(ValueError, match="bad user"):
        deliver_events(registry=registry)
    assert not Group.objects.exists()


@pytest.mark.django_db
def test_another_service_s_event_can_be_received(registry: Registry) -> None:
    """A handler is tried with an event of another service, and with its repetition."""
    for expected in (1, 0):
        event = UserCreated(user_id="7")
        assert receive_event(event, key="7", source="user-service", id="same", registry=registry) == expected
    assert Group.objects.count() == 1


@pytest.mark.django_db
def test_a_view_that_does_not_fit_is_the_test_s_error(registry: Registry) -> None:
    """A handler that can't read what is published is found by the test, not by a dead letter."""

    class Other(Event, type="user.created", version=2):
        name: str

    with pytest.raises(InvalidEvent, match="version 2"):
        receive_event(Other(name="x"), key="1", source="user-service", registry=registry)


@pytest.mark.django_db
def test_handlers_that_answer_each_other_are_noticed() -> None:
    """Events without end are an error, not a test without end."""
    registry = Registry()

    def again(event: UserCreated, message: Message) -> None:
        publish(UserCreated(user_id=event.user_id), key=message.key)

    registry.add(Subscription(name="again", pattern="user.created", handler=again))
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    with pytest.raises(AssertionError, match="still publish"):
        deliver_events(registry=registry)
