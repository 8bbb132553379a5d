"""A server that exists elsewhere: nothing is started, but whoever waits for it is told soon when it is not there."""

import asyncio
from collections.abc import Iterable
from typing import ClassVar, Final
from urllib.parse import urlsplit

from bandstand.exceptions import BrokerError, ServerFailed
from bandstand.topology import declare
from bandstand.workspace.manifest import EMBEDDED, SYSTEM, Server
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import Action, Stage, Step

__all__ = ["ReachServer", "plan_existing"]

_LABELS: Final = {"postgres": "PostgreSQL", "redis": "Redis", "nats": "NATS", "rabbitmq": "RabbitMQ"}
# How one has `bandstand up` start it instead.
_STARTED: Final = {"postgres": EMBEDDED, "redis": EMBEDDED, "nats": EMBEDDED, "rabbitmq": SYSTEM}
_BROKERS: Final = ("nats", "rabbitmq")
_PORTS: Final = {"postgres": 5432, "redis": 6379, "nats": 4222, "rabbitmq": 5672}
_TLS_PORTS: Final = {"amqps": 5671}
_PAUSE: Final = 0.2


class ReachServer(Action, frozen=True, kw_only=True):
    """Wait until something accepts connections there; ``patience`` and ``timeout`` (of one attempt) are in seconds."""

    waits: ClassVar[bool] = True
    kind: str
    host: str
    port: int
    patience: float = 5.0
    timeout: float = 3.0

    async def perform(self) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        while (reason := await self._refusal()) is not None:
            if loop.time() > deadline:
                raise ServerFailed(
                    f"{_LABELS[self.kind]} does not accept connections at {self.host}:{self.port} ({reason}).",
                    hint=f'Start it, or write servers.{self.kind} = "{_STARTED[self.kind]}" in bandstand.toml.',
                )
            await asyncio.sleep(_PAUSE)
        return ()

    async def _refusal(self) -> str | None:
        try:
            async with asyncio.timeout(self.timeout):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            return f"no answer in {self.timeout:.0f} s"
        except OSError as error:
            return error.strerror or str(error)
        writer.transport.abort()
        return None


class ReachBroker(ReachServer, frozen=True, kw_only=True):
    """The same, and declare what services share there as the user in ``url``."""

    url: str
    platform: str
    services: tuple[str, ...]

    async def perform(self) -> tuple[str, ...]:
        await super().perform()
        try:
            await declare(self.url, self.platform, self.services)
        except BrokerError as error:
            raise ServerFailed(
                f"What the services share at {_LABELS[self.kind]} can't be declared. {error}",
                hint="Write the URL of a user who may, or let an administrator do it: python -m bandstand.topology "
                "--help.",
            ) from error
        return ()

    def __repr__(self) -> str:
        return f"ReachBroker({self.host}:{self.port})"  # the URL may hold a password


def plan_existing(server: Server, platform: str, services: Iterable[str]) -> Step:
    """Plan to wait for ``server``, which has a URL, and to declare in it what ``services`` share."""
    parts = urlsplit(server.url or "")
    host, port = parts.hostname or LOOPBACK, parts.port or _TLS_PORTS.get(parts.scheme) or _PORTS[server.kind]
    action = ReachServer(kind=server.kind, host=host, port=port)
    if server.kind in _BROKERS:
        action = ReachBroker(
            kind=server.kind, host=host, port=port, url=server.url or "", platform=platform, services=tuple(services)
        )
    label = f"{_LABELS[server.kind]} at {host}:{port}"
    return Step(name=server.kind, label=label, stage=Stage.TASK, action=action)
