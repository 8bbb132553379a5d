"""What people see of what they were told."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from notifications.models import Notification

pytestmark = pytest.mark.django_db

URL = "/api/v1/notifications/"


def test_the_wire_of_a_notification(
    as_user: Callable[..., APIClient], make_notification: Callable[..., Notification]
) -> None:
    """A notification has what was said, to whom and whether it was sent."""
    known = make_notification()
    [shown] = as_user(known.user_id).get(URL).json()["results"]
    assert set(shown) == {"id", "kind", "recipient", "subject", "body", "status", "created_at", "sent_at"}
    assert (shown["id"], shown["kind"], shown["status"], shown["sent_at"]) == (str(known.pk), "welcome", "queued", None)


def test_everybody_sees_their_own_newest_first(
    as_user: Callable[..., APIClient], make_notification: Callable[..., Notification]
) -> None:
    """A page of 20, newest first, of nobody else's; also for staff."""
    ada = uuid.uuid4()
    mine = [str(make_notification(user_id=ada).pk) for _ in range(25)]
    make_notification()
    client = as_user(ada, staff=True)
    page = client.get(URL).json()
    assert page["count"] == 25
    following = client.get(page["next"]).json()
    assert [each["id"] for each in page["results"] + following["results"]] == mine[::-1]


def test_a_list_costs_two_queries(
    as_user: Callable[..., APIClient],
    make_notification: Callable[..., Notification],
    django_assert_num_queries: Any,
) -> None:
    """However many there are: their count, and a page of them."""
    ada = uuid.uuid4()
    for _ in range(10):
        make_notification(user_id=ada)
    client = as_user(ada)
    with django_assert_num_queries(2):
        assert len(client.get(URL).json()["results"]) == 10


@pytest.mark.parametrize("subject", ["x", "../..", "0"])
def test_a_token_of_no_user_of_the_shop_gets_nothing(as_user: Callable[..., APIClient], subject: str) -> None:
    """An id that is none is a fault of the request."""
    assert as_user(subject).get(URL).status_code == 400
