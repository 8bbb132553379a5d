"""A server that exists elsewhere: nothing is started, but whoever waits for it is told soon when it is not there."""

import asyncio
from typing import ClassVar, Final
from urllib.parse import urlsplit

from bandstand.exceptions import ServerFailed
from bandstand.workspace.manifest import EMBEDDED, SYSTEM, Server
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import Action, Stage, Step

__all__ = ["ReachServer", "plan_existing"]

_LABELS: Final = {"postgres": "PostgreSQL", "redis": "Redis", "nats": "NATS", "rabbitmq": "RabbitMQ"}
# How one has `bandstand up` start it instead.
_STARTED: Final = {"postgres": EMBEDDED, "redis": EMBEDDED, "nats": EMBEDDED, "rabbitmq": SYSTEM}
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


def plan_existing(server: Server) -> Step:
    """Plan to wait for ``server``, which has a URL."""
    parts = urlsplit(server.url or "")
    host, port = parts.hostname or LOOPBACK, parts.port or _TLS_PORTS.get(parts.scheme) or _PORTS[server.kind]
    return Step(
        name=server.kind,
        label=f"{_LABELS[server.kind]} at {host}:{port}",
        stage=Stage.TASK,
        action=ReachServer(kind=server.kind, host=host, port=port),
    )
