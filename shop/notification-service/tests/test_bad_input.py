"""Whatever comes in, the answer is never the service's own failure."""

from collections.abc import Callable

import pytest
from bandstand.testing.bad_input import assert_withstands_headers, assert_withstands_queries
from rest_framework.test import APIClient

from notifications.models import Notification

pytestmark = pytest.mark.django_db

URL = "/api/v1/notifications/"


def test_queries(as_role: Callable[..., APIClient], make_notification: Callable[..., Notification]) -> None:
    """A query of any kind gets a page or a refusal."""
    client = as_role("owner", make_notification().user_id)
    assert_withstands_queries(client, URL, parameters=("page", "page_size", "ordering", "search", "user_id"))


def test_headers(as_role: Callable[..., APIClient]) -> None:
    """A header of any kind is refused, or has no effect."""
    names = ("Authorization", "Accept", "X-Correlation-ID", "traceparent", "X-Service-Token", "X-Forwarded-For")
    assert_withstands_headers(as_role("other"), "GET", URL, names=names)
