import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.apps import apps
from django.core import serializers as text_serializers
from django.core.cache import caches
from django.db import connection, models
from django.db.migrations.writer import MigrationWriter
from django.db.models import Prefetch, prefetch_related_objects
from django.forms import modelform_factory
from django.test.utils import isolate_apps
from rest_framework import serializers

from bandstand.cache import DistributedCache
from bandstand.client import Resource
from bandstand.conf import get_settings
from bandstand.discovery import MemoryRegistry, use_registry
from bandstand.discovery.backends.watched import Instances, WatchedRegistry
from bandstand.discovery.watching import Seen, Watch
from bandstand.events import Event, Message
from bandstand.events.subscriptions import REGISTRY
from bandstand.exceptions import ConfigurationError, EventPostponed, ServiceResponseError, ServiceUnavailable
from bandstand.remote import RemoteForeignKey, subscribe_to_owners
from bandstand.remote.things import Things
from bandstand.testing.events import receive_event
from bandstand.testing.services import FakeServices, RecordedCall

ADA, BEN = UUID(int=1), UUID(int=2)
LIST = "/api/v1/users/"
ONE = "/api/v1/users/{id}/"


class Person(msgspec.Struct, frozen=True):
    id: UUID
    email: str


class UserChanged(Event, type="user.changed", version=1):
    user_id: UUID


def person(call: RecordedCall) -> dict[str, str]:
    return {"id": call.variables["id"], "email": f"{call.variables['id'][-1]}@example.com"}


def people(call: RecordedCall) -> dict[str, Any]:
    ids = [one for one in call.params["ids"][0].split(",") if one in {str(ADA), str(BEN)}]
    return {"count": len(ids), "next": None, "results": [{"id": one, "email": f"{one[-1]}@example.com"} for one in ids]}


@pytest.fixture
def order() -> Any:
    """A model of this service that refers to what others own."""
    with isolate_apps("bandstand.api"):

        class Order(models.Model):
            user = RemoteForeignKey("user-service", "users", null=True, blank=True, events="user.*")
            seller = RemoteForeignKey(
                "user-service", Resource(path=LIST, item=Person), key=models.CharField(max_length=40), default=""
            )

            class Meta:
                app_label = "bandstand_api"

    with connection.cursor() as cursor:  # gone with the transaction of the test
        columns = ", ".join(f"{field.column} {field.db_type(connection)}" for field in Order._meta.local_fields[1:])
        cursor.execute(f"CREATE TABLE {Order._meta.db_table} (id integer PRIMARY KEY, {columns})")
    return Order


def test_the_id_costs_nothing(order: Any, fake: FakeServices) -> None:
    """The id is stored, read and asked for as of any column, without a call."""
    order.objects.create(user_id=ADA)
    order.objects.create(user=str(BEN))
    assert [str(one.user_id) for one in order.objects.order_by("pk")] == [str(ADA), str(BEN)]
    assert order.objects.get(user=ADA).user_id == ADA
    assert order.objects.filter(user_id__in=[ADA, BEN]).count() == 2
    assert list(order.objects.values_list("user_id", flat=True).order_by("user")) == [ADA, BEN]
    assert {field.column for field in order._meta.local_fields} == {"id", "user_id", "seller_id"}
    assert fake.calls == []


def test_the_thing_is_loaded_when_asked_for(order: Any, fake: FakeServices) -> None:
    """The first who asks for the thing has it loaded; after that it comes from the instance, or from the cache."""
    rule = fake.on("user-service", "GET", ONE, json=person)
    one = order.objects.create(user_id=ADA)
    assert one.user["email"] == one.user["email"] == "1@example.com"
    assert order.objects.get().user == one.user
    assert len(rule.calls) == 1
    one.user_id = BEN  # another id is another thing
    assert one.user["email"] == "2@example.com"
    assert len(rule.calls) == 2


def test_what_does_not_exist_is_none(order: Any, fake: FakeServices) -> None:
    """No id and 404 are None, and None is kept like everything else."""
    rule = fake.on("user-service", "GET", ONE, status=404)
    assert order().user is None
    assert order(user_id=ADA).user is None
    assert order(user_id=ADA).user is None
    assert len(rule.calls) == 1


def test_whoever_cannot_be_asked_is_an_error(order: Any, fake: FakeServices) -> None:
    """An owner that is away or answers with another error is never taken for 'does not exist'."""
    fake.down("user-service")
    with pytest.raises(ServiceUnavailable):
        _ = order(user_id=ADA).user
    fake.up("user-service")
    fake.on("user-service", "GET", ONE, status=403).then(json=person)
    one = order(user_id=ADA)
    with pytest.raises(ServiceResponseError):
        _ = one.user
    assert one.user["id"] == str(ADA)  # and the failure was not kept


def test_typed_things(order: Any, fake: FakeServices) -> None:
    """With an item type the thing is of that type, from the network and from the cache; what does not fit is told."""
    fake.on("user-service", "GET", ONE, json=person).then(json={"id": "x"})
    ada, ben = order(seller_id=str(ADA)), order(seller_id=str(BEN))
    assert ada.seller == order(seller_id=str(ADA)).seller == Person(ADA, "1@example.com")
    with pytest.raises(ServiceResponseError, match="can't be used"):
        _ = ben.seller


def test_what_can_not_be_used_is_not_kept(order: Any, fake: FakeServices) -> None:
    """A thing of the wrong form is asked for again: its owner may have been mended meanwhile."""
    fake.on("user-service", "GET", ONE, json={"id": "x"}).then(json=person)
    with pytest.raises(ServiceResponseError, match="can't be used"):
        _ = order(seller_id=str(ADA)).seller
    assert order(seller_id=str(ADA)).seller == Person(ADA, "1@example.com")


def test_a_row_that_is_read_again_has_its_thing_anew(
    order: Any, fake: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """refresh_from_db() forgets what the instance has loaded, as it does with Django's own relations."""
    fake.on("user-service", "GET", ONE, json={"email": "old"}).then(json={"email": "new"})
    one = order.objects.create(user_id=ADA, seller_id="x")
    assert one.user["email"] == "old"
    one._meta.get_field("user").things.forget(str(ADA))
    assert one.user["email"] == "old"
    one.refresh_from_db(fields=["seller_id"])
    assert one.user["email"] == "old"
    one.refresh_from_db()
    assert one.user["email"] == "new"


@pytest.mark.parametrize(("stale", "served"), [(60, True), (0, False)])
def test_what_is_kept_may_outlive_its_owner(
    fake: FakeServices, monkeypatch: pytest.MonkeyPatch, stale: float, served: bool
) -> None:
    """With stale a thing whose time is over is used on while the owner can't be asked; without it that is an error."""
    began, passed = time.time(), [0.0]
    monkeypatch.setattr(time, "time", lambda: began + passed[0])
    things = Things("user-service", "users", timeout=60, stale=stale)
    monkeypatch.setattr(things, "_cache", DistributedCache(things.tag, clock=time.time))
    rule = fake.on("user-service", "GET", ONE, json=person)
    assert things.one(str(ADA))
    fake.down("user-service")
    passed[0] = 61.0
    if served:
        assert things.one(str(ADA))["email"] == "1@example.com"
    passed[0] = 121.0
    with pytest.raises(ServiceUnavailable):
        things.one(str(ADA))
    fake.up("user-service")
    assert things.one(str(ADA))
    assert len(rule.calls) == 2


def test_many_rows_are_one_call(order: Any, fake: FakeServices, django_assert_num_queries: Any) -> None:
    """prefetch_related() loads the things of all rows with one call; each row has its own, or None."""
    for name in (ADA, BEN, ADA, UUID(int=3), None):
        order.objects.create(user_id=name)
    rule = fake.on("user-service", "GET", LIST, json=people)
    with django_assert_num_queries(1):
        rows = list(order.objects.order_by("pk").prefetch_related("user"))
        emails = [row.user and row.user["email"] for row in rows]
    assert emails == ["1@example.com", "2@example.com", "1@example.com", None, None]
    (call,) = rule.calls
    assert sorted(call.params["ids"][0].split(",")) == [str(ADA), str(BEN), str(UUID(int=3))]
    prefetch_related_objects(rows, "user")  # what is there is not asked for again
    assert len(rule.calls) == 1


def test_many_rows_come_from_the_cache_too(order: Any, fake: FakeServices) -> None:
    """What is kept of earlier rows is not asked for again, nor is what does not exist, until an event ends it."""
    rule = fake.on("user-service", "GET", LIST, json=people)
    nobody = UUID(int=3)
    things = order._meta.get_field("user").things

    def load(*names: UUID) -> list[Any]:
        rows = [order(user_id=name) for name in names]
        prefetch_related_objects(rows, "user")
        return [row.user and row.user["id"] for row in rows]

    assert load(ADA, nobody) == [str(ADA), None]
    assert load(nobody, BEN, ADA) == [None, str(BEN), str(ADA)]
    assert [call.params["ids"] for call in rule.calls] == [[f"{ADA},{nobody}"], [str(BEN)]]
    assert load(ADA, BEN) == [str(ADA), str(BEN)]
    assert len(rule.calls) == 2
    things.forget(str(BEN))
    assert load(ADA, BEN) == [str(ADA), str(BEN)]
    assert rule.calls[-1].params["ids"] == [str(BEN)]
    things.forget()
    load(ADA, BEN)
    assert rule.calls[-1].params["ids"] == [f"{ADA},{BEN}"]
    fake.down("user-service")
    assert load(ADA) == [str(ADA)]
    with pytest.raises(ServiceUnavailable):
        load(ADA, uuid4())


def test_a_list_may_show_less_than_the_page_of_a_thing(order: Any, fake: FakeServices) -> None:
    """What came with a list does not stand in for the whole thing."""
    fake.on("user-service", "GET", LIST, json=people)
    fake.on("user-service", "GET", ONE, json=lambda call: person(call) | {"birthday": "1815-12-10"})
    rows = [order(user_id=ADA)]
    prefetch_related_objects(rows, "user")
    assert "birthday" not in rows[0].user
    assert order(user_id=ADA).user["birthday"]


def test_tooth_without_prefetching_each_row_is_a_call(order: Any, fake: FakeServices) -> None:
    """What prefetching prevents."""
    rule = fake.on("user-service", "GET", ONE, json=person)
    rows = [order(user_id=uuid4()) for _ in range(5)]
    assert all(row.user for row in rows)
    assert len(rule.calls) == 5


def test_no_queryset_of_others(order: Any) -> None:
    """There is no queryset for what another service owns, and that is said."""
    order.objects.create(user_id=ADA)
    with pytest.raises(ValueError, match="can't have a queryset"):
        list(order.objects.prefetch_related(Prefetch("user", queryset=order.objects.all())))


def subscribed(order: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Subscribe for that model alone; return the name."""
    monkeypatch.setattr(apps, "get_models", lambda: [order])
    before = {subscription.name for subscription in REGISTRY}
    subscribe_to_owners()
    (name,) = {subscription.name for subscription in REGISTRY} - before
    return name


def test_an_event_of_the_owner_ends_what_is_kept(
    order: Any, fake: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the owner's event, with its id in any case, the thing is loaded anew; others' events change nothing."""
    rule = fake.on("user-service", "GET", ONE, json=person)
    name = subscribed(order, monkeypatch)
    assert name == "remote.user-service.api.v1.users.user.all"
    try:

        def load() -> int:
            for one in (ADA, BEN):
                assert order(user_id=one).user["id"] == str(one)
            return len(rule.calls)

        assert load() == load() == 2
        receive_event(UserChanged(user_id=ADA), key=str(ADA), source="user-service")
        assert load() == 3
        assert rule.calls[-1].variables["id"] == str(ADA)
        receive_event(UserChanged(user_id=ADA), key=str(ADA), source="order-service")
        assert load() == 3
        receive_event(UserChanged(user_id=ADA), key=str(ADA).upper(), source="user-service")
        assert load() == 4
    finally:
        REGISTRY.remove(name)


def test_an_event_that_cannot_be_heeded_waits_until_nothing_is_kept(
    order: Any, fake: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the cache can't be told the event is postponed, for as long as a thing from before it may be kept."""
    name = subscribed(order, monkeypatch)
    monkeypatch.setattr(type(caches["default"]), "set_many", lambda _self, data, *_: list(data))
    things = order._meta.get_field("seller").things  # which keeps the same users, and by default as long
    lasts = things.lasts()
    assert lasts == get_settings().cache.timeout + 60
    monkeypatch.setattr(things, "_stale", 30.0)
    lasts += 30
    try:
        for age, postponed in ((0, True), (lasts - 1, True), (lasts + 1, False)):
            handler, message = REGISTRY.get(name).handler, received(ADA, age=age)  # type: ignore[union-attr]
            with pytest.raises(EventPostponed, match="may still be kept") if postponed else nullcontext():
                handler({}, message)
    finally:
        REGISTRY.remove(name)


def received(user: UUID, *, age: float) -> Message:
    return Message(
        id="1",
        type="user.changed",
        version=1,
        source="user-service",
        time=datetime.now(UTC) - timedelta(seconds=age),
        key=str(user),
        correlation_id="c",
    )


def test_tooth_without_the_subscription_the_old_thing_stays(order: Any, fake: FakeServices) -> None:
    """What the events are for: nobody asks again before the time is over."""
    rule = fake.on("user-service", "GET", ONE, json={"email": "old"}).then(json={"email": "new"})
    assert [order(user_id=ADA).user["email"] for _ in range(2)] == ["old", "old"]
    assert len(rule.calls) == 1


@isolate_apps("bandstand.api")
def test_the_id_of_an_event(monkeypatch: pytest.MonkeyPatch, fake: FakeServices) -> None:
    """event_id names the field of the data with the id; an event without one ends everything; fields may not differ."""

    class Visit(models.Model):
        user = RemoteForeignKey("user-service", "users", events="user.changed", event_id="user_id")
        other = RemoteForeignKey("user-service", "users", events="user.deleted", event_id="gone")

        class Meta:
            app_label = "bandstand_api"

    rule = fake.on("user-service", "GET", ONE, json=person)
    monkeypatch.setattr(apps, "get_models", lambda: [Visit])
    before = {subscription.name for subscription in REGISTRY}
    subscribe_to_owners()
    names = {subscription.name for subscription in REGISTRY} - before
    try:
        assert Visit(user_id=ADA).user
        receive_event(UserChanged(user_id=BEN), key=str(ADA), source="user-service")
        assert Visit(user_id=ADA).user
        assert len(rule.calls) == 1
        receive_event(UserChanged(user_id=ADA), key="x", source="user-service")
        assert Visit(user_id=ADA).user
        assert len(rule.calls) == 2
    finally:
        for name in names:
            REGISTRY.remove(name)
    Visit._meta.get_field("other").events = "user.changed"
    with pytest.raises(ConfigurationError, match="differ in event_id"):
        subscribe_to_owners()


def test_migrations(order: Any) -> None:
    """A migration holds what concerns the database, and makes an equal field of it."""
    user, seller = order._meta.get_field("user"), order._meta.get_field("seller")
    _, path, args, options = user.deconstruct()
    assert (path, args) == ("bandstand.remote.RemoteForeignKey", ["user-service", LIST])
    assert options == {"null": True, "blank": True}
    _, _, args, options = seller.deconstruct()
    assert set(options) == {"key", "default"}
    again = RemoteForeignKey(*args, **options)
    assert again.deconstruct()[3].keys() == options.keys()
    assert again.db_type(connection) == seller.db_type(connection) == "varchar(40)"
    assert "RemoteForeignKey('user-service'" in MigrationWriter.serialize(user)[0]
    assert user.db_index
    assert user.clone().db_type(connection) == user.db_type(connection)


def test_serializers(order: Any, fake: FakeServices) -> None:
    """REST framework reads and writes the id without a call; the thing is shown where it is asked for."""

    class Plain(serializers.ModelSerializer):
        class Meta:
            model = order
            fields = ("user", "user_id")

    class Full(serializers.ModelSerializer):
        user = serializers.DictField(read_only=True)

        class Meta:
            model = order
            fields = ("user",)

    writing = Plain(data={"user": str(ADA)})
    assert writing.is_valid(), writing.errors
    saved = writing.save()
    assert Plain(order.objects.get()).data == {"user": str(ADA), "user_id": ADA}
    refused = Plain(data={"user": "7"})
    assert not refused.is_valid()
    assert fake.calls == []
    fake.on("user-service", "GET", ONE, json=person)
    assert Full(saved).data["user"]["email"] == "1@example.com"


def test_forms_and_fixtures(order: Any, fake: FakeServices) -> None:
    """Forms and Django's own serializers know the id too."""
    form = modelform_factory(order, fields=("user",))({"user": str(ADA)})
    assert form.is_valid(), form.errors
    form.save()
    dumped = text_serializers.serialize("json", order.objects.all())
    assert str(ADA) in dumped
    order.objects.all().delete()
    assert fake.calls == []


class Remembering(WatchedRegistry):
    """Knows one name, as Consul's catalog does."""

    def names(self) -> tuple[str, ...]:
        return ("user-service",)

    def look_at(self, service: str, mark: str, /) -> Seen[Instances]:
        raise AssertionError(service)

    def _make(self, service: str) -> Watch[Instances]:
        raise AssertionError(service)


@isolate_apps("bandstand.api")
def test_checks() -> None:
    """A service that the registry does not know is a warning, this service itself an error."""

    class Visit(models.Model):
        user = RemoteForeignKey("user-service", "users")
        typo = RemoteForeignKey("usr-service", "users")
        own = RemoteForeignKey("test-service", "things")

        class Meta:
            app_label = "bandstand_api"

    known = MemoryRegistry({"user-service": ["http://127.0.0.1:1"]})
    with use_registry(known):
        found = {message.id: message for message in Visit.check()}
    assert set(found) >= {"bandstand.remote.E001", "bandstand.remote.W001"}
    assert "usr-service" in found["bandstand.remote.W001"].msg
    assert "Known are: user-service" in found["bandstand.remote.W001"].hint
    with use_registry(Remembering()):  # a registry over the network is asked for its names, and for nobody's instances
        assert "bandstand.remote.W001" in {message.id for message in Visit.check()}
    with use_registry(MemoryRegistry()):  # nothing is known yet
        assert [message.id for message in Visit.check() if "remote" in message.id] == ["bandstand.remote.E001"]
