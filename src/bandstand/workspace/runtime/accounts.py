"""The two users that a service has at each server, so that its password can change while it works.

Only one is in use. While passwords change both are accepted: processes go over to the other user one after the other,
and the first is closed when nobody has it any more. So a password never changes under somebody who uses it.
"""

from typing import Final

import msgspec

from bandstand.workspace.rotation import SECOND

__all__ = ["ADMINISTRATOR", "Account", "is_second", "other_user"]

ADMINISTRATOR: Final = "bandstand"
"""The administrator's first user in Valkey, NATS and RabbitMQ."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a server with its password, and the rights of ``service``."""

    service: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.user!r})"


def other_user(user: str) -> str:
    """Return the name of the second user beside ``user``, or of the first beside the second."""
    return user.removesuffix(SECOND) if is_second(user) else user + SECOND


def is_second(user: str) -> bool:
    """Return whether ``user`` is the name of somebody's second user."""
    return user.endswith(SECOND)
