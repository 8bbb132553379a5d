"""What a RabbitMQ reads when it starts: users with rights on what is their own, and what all services share.

A service may neither make nor delete the exchange and its archive, so they are made here.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bandstand.workspace.runtime.ports import LOOPBACK

__all__ = ["ADMINISTRATOR", "VIRTUAL_HOST", "RabbitMqUser", "definitions"]

ADMINISTRATOR: Final = "bandstand"
VIRTUAL_HOST: Final = "/"

# The archive as bandstand.events declares it where it is missing.
_ARCHIVE: Final[Mapping[str, object]] = {
    "x-queue-type": "stream",
    "x-max-age": "7D",
    "x-stream-max-segment-size-bytes": 50_000_000,
}


class RabbitMqUser(msgspec.Struct, frozen=True, kw_only=True):
    """A service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"RabbitMqUser({self.name!r})"

    def url(self, port: int) -> str:
        return f"amqp://{self.name}:{self.password}@{LOOPBACK}:{port}/%2F"


def definitions(platform: str, password: str, users: Iterable[RabbitMqUser]) -> dict[str, Any]:
    """Return what is there from the start on; queues and messages that exist are left as they are.

    ``platform`` is the first part of every name, ``password`` the administrator's.
    """
    events, users = f"{platform}.events", tuple(users)
    place = {"vhost": VIRTUAL_HOST}
    return {
        "users": [
            _user(ADMINISTRATOR, password, "administrator"),
            *(_user(user.name, user.password, "") for user in users),
        ],
        "vhosts": [{"name": VIRTUAL_HOST}],
        "permissions": [
            {**place, "user": ADMINISTRATOR, "configure": ".*", "write": ".*", "read": ".*"},
            *({**place, "user": user.name, **_permissions(platform, user.name)} for user in users),
        ],
        "topic_permissions": [
            {**place, "user": user.name, "exchange": events, "write": rf"^{user.name}\.", "read": ".*"}
            for user in users
        ],
        "exchanges": [
            {
                **place,
                "name": events,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
        ],
        "queues": [{**place, "name": events, "durable": True, "auto_delete": False, "arguments": _ARCHIVE}],
        "bindings": [
            {
                **place,
                "source": events,
                "destination": events,
                "destination_type": "queue",
                "routing_key": "#",
                "arguments": {},
            }
        ],
    }


def _permissions(platform: str, service: str) -> dict[str, str]:
    own = rf"{service}(\..*)?"
    shared = rf"^{platform}\.(events|{own})$"
    return {"configure": rf"^{platform}\.{own}$", "write": shared, "read": shared}


def _user(name: str, password: str, tags: str) -> dict[str, str]:
    return {
        "name": name,
        "password_hash": _password_hash(name, password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    }


def _password_hash(name: str, password: str) -> str:
    """RabbitMQ's salted SHA-256. The salt is made of the name, so that the same secrets give the same file: it protects
    passwords that people choose, and these are random.
    """
    salt = hashlib.sha256(name.encode()).digest()[:4]
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
