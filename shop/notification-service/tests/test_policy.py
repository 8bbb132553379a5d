"""Who may use which endpoint: the whole table, and proof that it is the whole."""

from collections.abc import Callable
from typing import Final

import pytest
from bandstand.testing.policies import Endpoint, PolicyMatrix
from rest_framework.test import APIClient

from notifications.models import Notification

pytestmark = pytest.mark.django_db

# The list is everybody's own, so that there is no other's to refuse. No service is on the list of callers.
POLICY: Final = PolicyMatrix(
    roles=("owner", "other", "anonymous", "staff", "wrong_service"),
    rows={"GET /api/v1/notifications/": (200, 200, 401, 200, 403)},
)


@pytest.mark.parametrize(("endpoint", "role", "status"), POLICY.cells())
def test_the_table_holds(
    endpoint: Endpoint,
    role: str,
    status: int,
    *,
    make_notification: Callable[..., Notification],
    as_role: Callable[..., APIClient],
) -> None:
    """Every endpoint answers every kind of caller as the table says, and shows the owner's to the owner alone."""
    notification = make_notification()
    answer = endpoint.call(as_role(role, notification.user_id))
    assert answer.status_code == status, answer.content
    assert (str(notification.pk) in answer.content.decode()) == (role == "owner")


def test_the_table_is_the_whole() -> None:
    """An endpoint that the table does not name fails here, before anybody forgets who may use it."""
    POLICY.assert_complete()


@pytest.mark.parametrize("endpoint", POLICY.others())
def test_other_methods_are_not_allowed(endpoint: Endpoint, as_role: Callable[..., APIClient], db: None) -> None:
    """A method that a route does not know gets 405 with a problem document, whoever asks."""
    for role in ("staff", "anonymous"):
        answer = endpoint.call(as_role(role))
        assert answer.status_code == 405
        assert answer["Content-Type"] == "application/problem+json"
