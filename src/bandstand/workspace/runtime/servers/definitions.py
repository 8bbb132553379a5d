"""The definitions that a RabbitMQ reads when it starts: users, each with rights on what is its own."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bandstand.topology.rabbitmq import permissions, topic_permissions
from bandstand.workspace.runtime.ports import LOOPBACK

__all__ = ["ADMINISTRATOR", "VIRTUAL_HOST", "RabbitMqUser", "definitions"]

ADMINISTRATOR: Final = "bandstand"
VIRTUAL_HOST: Final = "/"


class RabbitMqUser(msgspec.Struct, frozen=True, kw_only=True):
    """A service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"RabbitMqUser({self.name!r})"

    def url(self, port: int) -> str:
        return f"amqp://{self.name}:{self.password}@{LOOPBACK}:{port}/%2F"


def definitions(platform: str, password: str, users: Iterable[RabbitMqUser]) -> dict[str, Any]:
    """Return the users and their rights. Exchanges are declared by an administrator's step (``bandstand.topology``).

    ``platform`` is the first part of every name, ``password`` the administrator's.
    """
    users, place = tuple(users), {"vhost": VIRTUAL_HOST}
    return {
        "users": [
            _user(ADMINISTRATOR, password, "administrator"),
            *(_user(user.name, user.password, "") for user in users),
        ],
        "vhosts": [{"name": VIRTUAL_HOST}],
        "permissions": [
            {**place, "user": ADMINISTRATOR, "configure": ".*", "write": ".*", "read": ".*"},
            *({**place, "user": user.name, **permissions(platform, user.name)} for user in users),
        ],
        "topic_permissions": [{**place, "user": user.name, **topic_permissions(platform, user.name)} for user in users],
    }


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
