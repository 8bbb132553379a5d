"""What staff sees in the admin."""

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from notifications.models import Notification

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("page", ["", "notifications/notification/", "notifications/notification/?q=a%27"])
def test_the_pages_open(admin: Client, make_notification: Callable[..., Notification], page: str) -> None:
    """Each page of the admin answers."""
    make_notification()
    assert admin.get(f"/admin/{page}").status_code == 200


def test_notifications_are_looked_at(admin: Client, make_notification: Callable[..., Notification]) -> None:
    """A notification shows what was said, and nobody changes, deletes or adds one by hand."""
    page = f"/admin/notifications/notification/{make_notification().pk}/"
    shown = admin.get(f"{page}change/")
    assert shown.status_code == 200
    assert b"Hello Ada" in shown.content
    assert admin.post(f"{page}change/", {"status": "sent"}).status_code == 403
    assert admin.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert admin.get("/admin/notifications/notification/add/").status_code == 403
    assert Notification.objects.get().status == "queued"
