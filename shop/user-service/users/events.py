"""What the user service tells the others. It handles nothing of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
from bandstand.events import Event, publish

if TYPE_CHECKING:
    from users.models import User


Address = Annotated[str, msgspec.Meta(max_length=254, pattern=r"\A[^\s\x00-\x1f\x7f@]+@[^\s\x00-\x1f\x7f@]+\Z")]


class UserCreated(Event, type="user.created", version=1):
    """Somebody registered, or was added by staff."""

    user_id: UUID
    email: Address
    username: str
    first_name: str = ""


class SessionEnded(Event, type="session.ended", version=1):
    """A sign-in has ended; services that read this refuse its access tokens, which name it as ``sid``."""

    session_id: UUID
    user_id: UUID


def announce_created(user: User) -> None:
    """Publish that ``user`` is new; call it in the transaction that saves the user."""
    publish(
        UserCreated(user_id=user.pk, email=user.email, username=user.username, first_name=user.first_name),
        key=str(user.pk),
    )


def announce_ended(session_id: UUID, user_id: UUID) -> None:
    """Publish that a sign-in has ended; call it in the transaction that ends it."""
    publish(SessionEnded(session_id=session_id, user_id=user_id), key=str(user_id))
