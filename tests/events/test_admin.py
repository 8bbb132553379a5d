"""Staff looks at events and mends dead letters, by Django's own pages."""

import json
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.urls import path, reverse

from bandstand.conf import defaults
from bandstand.events import admin as events_admin
from bandstand.events import publish
from bandstand.events.models import DeadLetter, Delivery, HistoryEntry, InboxMessage, OutboxMessage

from .conftest import Desk, UserCreated

urlpatterns = [path("admin/", admin.site.urls)]

LIST = "admin:bandstand_events_{}_changelist"


@pytest.fixture
def service(desk: Desk, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A service with an event in the outbox, one that is retried, a dead letter, and one that can't be read."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [each for each in defaults.MIDDLEWARE if each.startswith("django.")]
    monkeypatch.setattr(events_admin, "REGISTRY", desk.registry)

    def fail(event: UserCreated) -> None:
        raise ValueError("<b>never</b>")

    desk.handle(fail)
    desk.bring(UserCreated(user_id="1"), message_id="message-dead", key="1")
    for _ in range(4):
        desk.pass_time()
    desk.bring(UserCreated(user_id="2"), message_id="message-retried", key="2")
    desk.bring(b"\xff rubbish")
    with transaction.atomic():
        publish(UserCreated(user_id="3"), key="3")
    return desk


@pytest.fixture
def staff(service: Desk) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="x"))
    return client


def dead() -> DeadLetter:
    return DeadLetter.objects.get(reason="failed")


def change(model: str, pk: int) -> str:
    return reverse(f"admin:bandstand_events_{model}_change", args=[pk])


def act(client: Client, action: str, **more: str) -> Any:
    chosen = [str(pk) for pk in DeadLetter.objects.values_list("pk", flat=True)]
    data = {"action": action, "_selected_action": chosen, **more}
    return client.post(reverse(LIST.format("deadletter")), data, follow=True)


@pytest.mark.parametrize(
    ("model", "row", "shows"),
    [
        ("outboxmessage", OutboxMessage, "&quot;user_id&quot;: &quot;3&quot;"),
        ("delivery", Delivery, "ValueError: &lt;b&gt;never&lt;/b&gt;"),
        ("deadletter", DeadLetter, "Traceback"),
    ],
)
def test_every_table_has_a_list_and_a_page(model: str, row: Any, shows: str, staff: Client) -> None:
    """Rows are listed, found by their id, and shown with data and error, never as markup."""
    found = row.objects.order_by("-pk").first() if row is not DeadLetter else dead()
    listed = staff.get(reverse(LIST.format(model)), {"q": found.message_id})
    assert found.message_id in listed.content.decode()
    page = staff.get(change(model, found.pk)).content.decode()
    assert shows in page
    assert "<b>never" not in page


@pytest.mark.parametrize(("model", "row"), [("outboxmessage", OutboxMessage), ("delivery", Delivery)])
def test_what_the_worker_works_on_can_not_be_touched(model: str, row: Any, staff: Client) -> None:
    """Not even a superuser changes, deletes or adds a row of outbox or deliveries."""
    found = row.objects.first()
    assert staff.post(change(model, found.pk), {"key": "x"}).status_code == 403
    assert (
        staff.post(reverse(f"admin:bandstand_events_{model}_delete", args=[found.pk]), {"post": "yes"}).status_code
        == 403
    )
    assert staff.get(reverse(f"admin:bandstand_events_{model}_add")).status_code == 403
    assert row.objects.filter(pk=found.pk).exists()


def test_the_inbox_is_not_there() -> None:
    """It is not registered."""
    assert InboxMessage not in admin.site._registry


def test_letters_are_replayed(staff: Client, service: Desk) -> None:
    """Those that can be are scheduled; of the others the page says why they could not be."""
    page = act(staff, "replay").content.decode()
    assert "1 are stored" in page
    assert "unreadable" in page
    assert list(DeadLetter.objects.values_list("reason", flat=True)) == ["invalid"]
    assert Delivery.objects.get(message_id="message-dead").attempts == 0
    assert HistoryEntry.objects.get(what="replayed").by == "ada"


def test_dropping_asks_first(staff: Client) -> None:
    """The first page asks; the second drops, and the history says who did it."""
    asked = act(staff, "delete_selected")
    assert "Are you sure" in asked.content.decode()
    assert DeadLetter.objects.count() == 2
    act(staff, "delete_selected", post="yes")
    assert not DeadLetter.objects.exists()
    assert {entry.by for entry in HistoryEntry.objects.filter(what="dropped")} == {"ada"}


def test_data_are_edited(staff: Client) -> None:
    """What the handler can read is stored, and what was there before is in the history, and on the page."""
    letter = dead()
    page = staff.get(change("deadletter", letter.pk)).content.decode()
    assert "&quot;user_id&quot;: &quot;1&quot;" in page
    saved = staff.post(change("deadletter", letter.pk), {"new_data": '{"user_id": "4"}'})
    assert saved.status_code == 302
    assert json.loads(bytes(dead().body))["data"] == {"user_id": "4"}
    assert dead().error == letter.error
    assert json.loads(HistoryEntry.objects.get(what="edited").text)["user_id"] == "1"
    assert "edited by ada" in staff.get(change("deadletter", letter.pk)).content.decode()


@pytest.mark.parametrize("data", ['{"user_id": 4}', '{"user_id": "4"', ""])
def test_data_that_no_handler_could_read_are_refused(data: str, staff: Client) -> None:
    """The form says why, and nothing is stored."""
    refused = staff.post(change("deadletter", dead().pk), {"new_data": data})
    assert refused.status_code == 200
    assert "errorlist" in refused.content.decode()
    assert json.loads(bytes(dead().body))["data"]["user_id"] == "1"


def test_an_unchanged_form_changes_nothing(staff: Client) -> None:
    """Saving what was shown leaves the letter as it is, byte for byte, with no entry in the history."""
    letter = dead()
    form = staff.get(change("deadletter", letter.pk)).context["adminform"].form
    staff.post(change("deadletter", letter.pk), {"new_data": form.initial["new_data"].replace("\n", "\r\n")})
    assert bytes(dead().body) == bytes(letter.body)
    assert not HistoryEntry.objects.filter(what="edited").exists()


def test_what_is_no_event_can_only_be_dropped(staff: Client) -> None:
    """Its bytes are shown as they are, and there is nothing to edit."""
    letter = DeadLetter.objects.get(reason="invalid")
    page = staff.get(change("deadletter", letter.pk)).content.decode()
    assert "it can only be dropped" in page
    assert staff.post(change("deadletter", letter.pk), {"new_data": "{}"}).status_code == 302
    assert bytes(DeadLetter.objects.get(pk=letter.pk).body) == b"\xff rubbish"


def test_who_may_only_look_mends_nothing(service: Desk) -> None:
    """Replaying and editing need the permission to change, dropping that to delete."""
    user = User.objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client = Client()
    client.force_login(user)
    assert client.get(change("deadletter", dead().pk)).status_code == 200
    assert client.post(change("deadletter", dead().pk), {"new_data": '{"user_id": "4"}'}).status_code == 403
    for action in ("replay", "delete_selected"):
        act(client, action, post="yes")
    assert DeadLetter.objects.count() == 2
    assert not HistoryEntry.objects.filter(what__in=["replayed", "dropped", "edited"]).exists()
