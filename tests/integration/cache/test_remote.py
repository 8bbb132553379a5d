from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.core.cache import caches
from django.db import models
from django.test.utils import isolate_apps
from pytest_django.fixtures import Settings

from bandstand.cache import client as clients
from bandstand.events import Event
from bandstand.events.models import InboxMessage
from bandstand.events.subscriptions import REGISTRY
from bandstand.exceptions import EventPostponed
from bandstand.remote import RemoteForeignKey, subscribe_to_owners
from bandstand.testing.events import receive_event
from bandstand.testing.services import fake_services
from tests.waiting import GUARD

from .server import SERVICE, Valkey

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ADA = UUID(int=1)


class UserChanged(Event, type="user.changed", version=1):
    pass


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A model that refers to a user, with its subscription."""
    with isolate_apps("bandstand.api"):

        class Order(models.Model):
            user = RemoteForeignKey("user-service", "users", events="user.*")

            class Meta:
                app_label = "bandstand_api"

    monkeypatch.setattr(apps, "get_models", lambda: [Order])
    before = {subscription.name for subscription in REGISTRY}
    subscribe_to_owners()
    yield Order
    for name in {subscription.name for subscription in REGISTRY} - before:
        REGISTRY.remove(name)


@pytest.fixture
def durable() -> Iterator[Valkey]:
    """A Redis that has its data again after a restart."""
    server = Valkey(durable=True)
    server.start()
    yield server
    clients._clients.clear()
    server.close()


def another_process() -> None:
    """What a process owes the cache ends with it."""
    clients._clients.clear()
    del caches["default"]


def test_what_changed_while_redis_was_away_is_not_served_afterwards(
    order: Any, durable: Valkey, settings: Settings
) -> None:
    """The event is not handled before the cache is told, though the worker that had it first has ended meanwhile."""
    settings.CACHES = {
        "default": {
            "BACKEND": "bandstand.cache.ResilientRedisCache",
            "LOCATION": durable.url(),
            "KEY_PREFIX": SERVICE,
            "OPTIONS": {"timeout": GUARD},
        }
    }
    clients._clients.clear()

    def email() -> str:
        return str(order(user_id=ADA).user["email"])

    def receive() -> int:
        return receive_event(UserChanged(), key=str(ADA), source="user-service", id="changed")

    with fake_services() as fake:
        path = "/api/v1/users/{id}/"
        fake.on("user-service", "GET", path, json={"email": "old"}).then(json={"email": "new"})
        assert [email(), email()] == ["old", "old"]
        durable.kill()
        with pytest.raises(EventPostponed):
            receive()
        assert not InboxMessage.objects.exists()
        another_process()
        durable.start()
        assert email() == "old"  # what the event is still to end
        assert receive() == 1
        assert email() == "new"
        assert receive() == 0
