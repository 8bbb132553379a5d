"""What waits at NATS, asked on a connection of its own that is closed after the answer; nothing is declared."""

import asyncio
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, unquote

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from bandstand.events.brokers.base import Waiting
from bandstand.events.brokers.nats.names import Names
from bandstand.events.brokers.nats.pull import TROUBLE
from bandstand.exceptions import BrokerUnavailable

__all__ = ["ask"]

_PORT: Final = 4222


def ask(url: SplitResult, names: Names, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
    """Return what waits for each subscription that has a consumer, within ``timeout`` seconds.

    Raises:
        BrokerUnavailable: there was no answer.
    """
    place = f"{url.hostname}:{url.port or _PORT}"
    try:
        return asyncio.run(_ask(url, names, subscriptions, timeout))
    except TROUBLE as error:
        reason = str(error) or type(error).__name__
        raise BrokerUnavailable(f"NATS at {place} can't be asked: {reason.removeprefix('nats: ')}") from error


async def _ask(url: SplitResult, names: Names, subscriptions: Collection[str], patience: float) -> dict[str, Waiting]:
    client = Client()
    try:
        async with asyncio.timeout(patience):
            await client.connect(
                f"{url.scheme}://{url.hostname}:{url.port or _PORT}",
                name=f"{names.service} status",
                user=unquote(url.username) if url.username else None,
                password=unquote(url.password) if url.password else None,
                connect_timeout=max(1, int(patience)),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_ignore,
                inbox_prefix=names.inbox_prefix,
            )
            stream = client.jetstream(timeout=patience)
            waiting: dict[str, Waiting] = {}
            for subscription in subscriptions:
                try:
                    found = await stream.consumer_info(names.inbound, names.durable(subscription))
                except NotFoundError:
                    continue
                waiting[subscription] = Waiting(pending=found.num_pending or 0, unsettled=found.num_ack_pending or 0)
            return waiting
    finally:
        await client.close()


async def _ignore(error: Exception) -> None:
    """Drop an error that the call itself raises; the client would only print it."""
    del error
