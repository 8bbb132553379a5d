"""Valkey from the wheel, with a user for one service as `bandstand up` makes it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

import redis

from bandstand.workspace.runtime.accounts import Account
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.servers.redis import access_rules
from bandstand.workspace.runtime.wheels import find_valkey
from tests.integration.servers import Server, tied
from tests.waiting import GUARD

SERVICE, OTHER = "user-service", "other-service"
PASSWORD = "cache-password"


class Valkey(Server):
    """Keeps nothing over a restart unless ``durable``."""

    name = "valkey"

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self.durable = durable
        accounts = [Account(service=name, user=name, password=PASSWORD) for name in (SERVICE, OTHER)]
        rules = "".join(access_rules([], accounts))
        (self.folder / "users.acl").write_text(f"{rules}user admin on >{PASSWORD} ~* &* +@all\n")

    def url(self, user: str = SERVICE, port: int | None = None) -> str:
        return f"redis://{user}:{PASSWORD}@{LOOPBACK}:{port or self.port}/0"

    def command(self) -> list[str]:
        options = {
            "--bind": LOOPBACK,
            "--port": self.port,
            "--dir": self.folder,
            "--save": "",
            "--appendonly": "yes" if self.durable else "no",
            "--appendfsync": "always",
            "--aclfile": self.folder / "users.acl",
        }
        return tied([find_valkey(), *(word for pair in options.items() for word in pair)])

    def is_ready(self) -> bool:
        with suppress(redis.RedisError), self.admin() as client:
            return bool(client.ping())
        return False

    def admin(self) -> Any:
        """A client that may do everything."""
        return redis.Redis(
            host=LOOPBACK, port=self.port, username="admin", password=PASSWORD, protocol=2, socket_timeout=GUARD
        )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process, and let it go on: after the guard at the latest."""
        assert self.process is not None
        guard = Timer(GUARD, self.process.send_signal, (signal.SIGCONT,))
        guard.start()
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            guard.cancel()
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and answers nothing; after the guard it ends them."""
    with socket.create_server((LOOPBACK, 0), backlog=64) as server:
        guard = Timer(GUARD, server.close)
        guard.start()
        yield server.getsockname()[1]
        guard.cancel()
