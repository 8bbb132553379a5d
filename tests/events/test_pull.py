"""Pulling from NATS: what happens between a message's end and the end of the connection."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from nats.aio.msg import Msg

from bandstand.events.brokers.base import Incoming
from bandstand.events.brokers.nats import pull as module
from bandstand.events.brokers.nats.pull import Pull


@pytest.fixture(autouse=True)
def gathers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GATHER", 0)


async def received(client: Any) -> tuple[Pull, Incoming]:
    """Return a pull, and a message that it has brought."""
    messages: list[Incoming] = []
    pull = Pull(
        client=client,
        stream="S",
        consumer="c",
        subscription="s",
        capacity=1,
        receiver=messages.append,
        repair=AsyncMock(),
    )
    await pull._receive(
        Msg(client, subject="shop.events.user-service.user.created", reply="$JS.ACK.S.c.1.1.1.1.0", data=b"{}")
    )
    return pull, messages[0]


def test_an_answer_in_the_last_moment_leaves_no_task() -> None:
    """The timer that gathers answers may ring after the close; the end of the loop would cut what it began."""

    async def close_at_once() -> set[Any]:
        pull, message = await received(Mock(is_connected=False))
        message.acknowledge()
        pull.close()
        for _ in range(4):
            await asyncio.sleep(0)
            if len(asyncio.all_tasks()) > 1:
                break
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(close_at_once()) == set()


def test_an_answer_is_sent_before_the_end() -> None:
    """As long as the pull is open, the same timer sends."""

    async def wait_a_little() -> int:
        client = Mock(is_connected=True, _send_command=AsyncMock(), _flush_pending=AsyncMock())
        client.publish = AsyncMock()
        _, message = await received(client)
        message.acknowledge()
        for _ in range(6):
            await asyncio.sleep(0)
        return int(client._send_command.await_count)

    assert asyncio.run(wait_a_little()) == 1
