"""The definitions that a RabbitMQ reads when it starts: users, each with rights on what is its own."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

from bandstand.topology.rabbitmq import permissions, topic_permissions
from bandstand.workspace.runtime.accounts import Account, other_user
from bandstand.workspace.runtime.ports import LOOPBACK

__all__ = ["VIRTUAL_HOST", "definitions", "rabbitmq_url"]

VIRTUAL_HOST: Final = "/"


def rabbitmq_url(account: Account, port: int) -> str:
    """Return the URL by which the one whom ``account`` belongs to connects."""
    return f"amqp://{account.user}:{account.password}@{LOOPBACK}:{port}/%2F"


def definitions(platform: str, administrators: Iterable[Account], accounts: Iterable[Account]) -> dict[str, Any]:
    """Return the users and their rights. Exchanges are declared by an administrator's step (``bandstand.topology``).

    ``platform`` is the first part of every name. Definitions only add: the second user of somebody who has one is
    there without a password, with which RabbitMQ lets nobody in.
    """
    place = {"vhost": VIRTUAL_HOST}
    administrators, accounts = tuple(administrators), tuple(accounts)
    return {
        "users": [*_users(administrators, "administrator"), *_users(accounts, "")],
        "vhosts": [{"name": VIRTUAL_HOST}],
        "permissions": [
            *({**place, "user": each.user, "configure": ".*", "write": ".*", "read": ".*"} for each in administrators),
            *({**place, "user": each.user, **permissions(platform, each.service)} for each in accounts),
        ],
        "topic_permissions": [
            {**place, "user": each.user, **topic_permissions(platform, each.service)} for each in accounts
        ],
    }


def _users(accounts: Iterable[Account], tags: str) -> list[dict[str, str]]:
    hashes = {other_user(account.user): "" for account in accounts}
    hashes |= {account.user: _password_hash(account.user, account.password) for account in accounts}
    return [
        {
            "name": name,
            "password_hash": password_hash,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tags if password_hash else "",
        }
        for name, password_hash in hashes.items()
    ]


def _password_hash(name: str, password: str) -> str:
    """RabbitMQ's salted SHA-256. The salt is made of the name, so that the same secrets give the same file: it protects
    passwords that people choose, and these are random.
    """
    salt = hashlib.sha256(name.encode()).digest()[:4]
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
