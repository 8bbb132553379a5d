"""What the tests of the notification service share."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import Notification


@pytest.fixture
def make_notification(db: None) -> Callable[..., Notification]:
    """Return a function that saves a notification; everything can be given, nothing must."""

    def make(**fields: Any) -> Notification:
        return Notification.objects.create(
            **{
                "user_id": uuid.uuid4(),
                "kind": Notification.Kind.WELCOME,
                "recipient": "ada@example.com",
                "subject": "Welcome to the shop",
                "body": "Hello Ada,\n",
                "event_id": uuid.uuid4(),
                **fields,
            }
        )

    return make
