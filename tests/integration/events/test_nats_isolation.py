"""The rights of a service at NATS: its credentials reach everything of its own and nothing of another service.

The server has the users and permissions that `bandstand up` and the exports write. One service is the attacker, the
other has an event on its way; after each attempt all of the other's is as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from bandstand.topology.nats import inbound_stream, inbox_prefix
from bandstand.workspace.runtime.accounts import ADMINISTRATOR, Account
from bandstand.workspace.runtime.servers.nats import authorization
from tests.integration.events.conftest import uncopied
from tests.integration.servers import Nats
from tests.waiting import GUARD

PLATFORM, ATTACKER, VICTIM, PASSWORD = "shop", "order-service", "product-service", "secret"
OWN, THEIRS, SHARED = inbound_stream(PLATFORM, ATTACKER), inbound_stream(PLATFORM, VICTIM), f"{PLATFORM}-events"
CONSUMER = f"{VICTIM}__stock"
API = "$JS.API"


class Guarded(Nats):
    """With the users of a platform of two services."""

    def __init__(self) -> None:
        super().__init__()
        file = self.folder / "nats.json"
        configuration = json.loads(file.read_text())
        administrator = Account(service="", user=ADMINISTRATOR, password=PASSWORD)
        accounts = [Account(service=name, user=name, password=PASSWORD) for name in (ATTACKER, VICTIM)]
        rules = authorization(PLATFORM, [administrator], accounts)
        configuration["authorization"]["users"] += rules["users"]
        file.write_text(json.dumps(configuration))


@pytest.fixture(scope="module")
def server() -> Iterator[Guarded]:
    guarded = Guarded()
    with contextlib.closing(guarded):
        guarded.start()
        guarded.declare(PLATFORM, ATTACKER, VICTIM)
        yield guarded


class World:
    """The connections of attacker and administrator, and what the victim has."""

    def __init__(self, attacker: Client, administrator: Client) -> None:
        self.attacker, self.administrator = attacker, administrator
        self.reply = ""  # of the event that the victim's worker has in hand

    async def ask(self, subject: str, body: Any = None) -> dict[str, Any]:
        """Send a request as the attacker; nothing if there was no answer."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        try:
            return dict(json.loads((await self.attacker.request(subject, payload, timeout=0.5)).data))
        except (TimeoutError, nats.errors.Error, ValueError):
            return {}

    async def state(self) -> Any:
        """Everything of the victim's and of what all share, as the administrator sees it."""
        stream = self.administrator.jetstream()
        shared = (await stream.stream_info(SHARED)).state
        while await uncopied(stream, SHARED, THEIRS):  # noqa: ASYNC110 - it is the server that copies
            await asyncio.sleep(0.01)
        victim = (await stream.stream_info(THEIRS)).state
        consumers = await stream.consumers_info(THEIRS)
        found = [(each.name, each.num_ack_pending, each.num_pending, each.config.filter_subjects) for each in consumers]
        streams = sorted([each.config.name for each in await stream.streams_info()])
        return victim.messages, shared.messages, found, streams


Attempt = Callable[[World], Awaitable[int | None]]
"""Returns how many events were published meanwhile by somebody who may."""


def publish(subject: str, body: bytes = b"x") -> Attempt:
    async def attempt(world: World) -> None:
        await world.attacker.publish(subject, body)

    return attempt


def ask(subject: str, body: Any = None) -> Attempt:
    async def attempt(world: World) -> None:
        answer = await world.ask(subject, body)
        assert not answer or "error" in answer, answer

    return attempt


def subscribe(subject: str) -> Attempt:
    """Listen while the administrator says something there."""

    async def attempt(world: World) -> int:
        heard: list[Any] = []

        async def hear(message: Any) -> None:
            heard.append(message)

        await world.attacker.subscribe(subject, cb=hear)
        await flushed(world.attacker)
        await world.administrator.publish(subject.replace(">", "x").replace("*", "x"), b"secret")
        await flushed(world.administrator)
        await flushed(world.attacker)
        assert heard == []
        return int(subject.startswith(f"{PLATFORM}.events."))

    return attempt


async def acknowledge(world: World) -> None:
    """The reply subject of an event that another holds, as if it were known."""
    await world.attacker.publish(world.reply, b"+ACK")


async def acknowledge_by_a_push_consumer(world: World) -> int:
    """Make the server deliver an own event, with an acknowledgement as its body, to the victim's reply subject."""
    await world.ask(f"{PLATFORM}.events.{ATTACKER}.order.placed", b"+ACK")
    await world.ask(
        f"{API}.CONSUMER.CREATE.{OWN}.push",
        {
            "stream_name": OWN,
            "config": {
                "name": "push",
                "deliver_subject": world.reply,
                "deliver_policy": "all",
                "ack_policy": "none",
                "filter_subject": f"{PLATFORM}.events.{ATTACKER}.order.placed",
            },
        },
    )
    return 1


ATTEMPTS: dict[str, Attempt] = {
    "publish as another": publish(f"{PLATFORM}.events.{VICTIM}.stock.reserved"),
    "publish on a platform of its own": publish("other.events.order-service.x"),
    "publish to another's inbox": publish(f"{inbox_prefix(VICTIM)}.abc"),
    "acknowledge": acknowledge,
    "terminate": publish(f"$JS.ACK.{THEIRS}.{CONSUMER}.1.1.1.1.0", b"+TERM"),
    "acknowledge by a push consumer": acknowledge_by_a_push_consumer,
    "pull from another's consumer": ask(f"{API}.CONSUMER.MSG.NEXT.{THEIRS}.{CONSUMER}", {"batch": 10}),
    "change another's consumer": ask(
        f"{API}.CONSUMER.CREATE.{THEIRS}.{CONSUMER}",
        {"stream_name": THEIRS, "config": {"durable_name": CONSUMER, "filter_subject": "nothing"}},
    ),
    "change another's durable consumer": ask(
        f"{API}.CONSUMER.DURABLE.CREATE.{THEIRS}.{CONSUMER}",
        {"stream_name": THEIRS, "config": {"durable_name": CONSUMER, "filter_subject": "nothing"}},
    ),
    "make a consumer in another's stream": ask(
        f"{API}.CONSUMER.CREATE.{THEIRS}.mine", {"stream_name": THEIRS, "config": {"name": "mine"}}
    ),
    "name another's stream in the request to its own": ask(
        f"{API}.CONSUMER.CREATE.{OWN}.mine", {"stream_name": THEIRS, "config": {"name": "mine"}}
    ),
    "make a consumer in the shared stream": ask(
        f"{API}.CONSUMER.CREATE.{SHARED}.mine", {"stream_name": SHARED, "config": {"name": "mine"}}
    ),
    "look at another's consumer": ask(f"{API}.CONSUMER.INFO.{THEIRS}.{CONSUMER}"),
    "delete another's consumer": ask(f"{API}.CONSUMER.DELETE.{THEIRS}.{CONSUMER}"),
    "pause another's consumer": ask(
        f"{API}.CONSUMER.PAUSE.{THEIRS}.{CONSUMER}", {"pause_until": "2099-01-01T00:00:00Z"}
    ),
    "list consumers": ask(f"{API}.CONSUMER.LIST.{THEIRS}"),
    "list consumer names": ask(f"{API}.CONSUMER.NAMES.{THEIRS}"),
    "read a message": ask(f"{API}.STREAM.MSG.GET.{THEIRS}", {"seq": 1}),
    "read a message directly": ask(f"{API}.DIRECT.GET.{THEIRS}", {"seq": 1}),
    "delete a message": ask(f"{API}.STREAM.MSG.DELETE.{THEIRS}", {"seq": 1}),
    "delete a shared message": ask(f"{API}.STREAM.MSG.DELETE.{SHARED}", {"seq": 1}),
    "list streams": ask(f"{API}.STREAM.LIST"),
    "list stream names": ask(f"{API}.STREAM.NAMES"),
    "account": ask(f"{API}.INFO"),
    "purge the account": ask(f"{API}.ACCOUNT.PURGE.$G"),
    "step down": ask(f"{API}.META.LEADER.STEPDOWN"),
    "make a stream that takes inboxes": ask(f"{API}.STREAM.CREATE.mine", {"name": "mine", "subjects": ["_INBOX.>"]}),
    "copy from another's stream": ask(f"{API}.STREAM.CREATE.mine", {"name": "mine", "mirror": {"name": THEIRS}}),
    "listen to another's inbox": subscribe(f"{inbox_prefix(VICTIM)}.>"),
    "listen to all inboxes": subscribe("_INBOX.>"),
    "listen to all inboxes by a star": subscribe("_INBOX.*.abc"),
    "listen to events": subscribe(f"{PLATFORM}.events.>"),
    "listen to everything": subscribe(">"),
    "listen to requests": subscribe("$JS.API.>"),
    "listen to acknowledgements": subscribe("$JS.ACK.>"),
    "listen to advisories": subscribe("$JS.EVENT.>"),
    "listen to the system": subscribe("$SYS.>"),
    **{
        f"{verb} {stream}": ask(f"{API}.STREAM.{verb}.{stream}", {"name": stream, "subjects": ["a.b"]})
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN")
        for stream in (THEIRS, SHARED, OWN)
    },
    **{f"INFO {stream}": ask(f"{API}.STREAM.INFO.{stream}") for stream in (THEIRS, SHARED)},
}


async def flushed(client: Client) -> None:
    await client.flush(GUARD)


async def refused(_: Exception) -> None:
    """The server says so, and the client would print it."""


async def run(server: Guarded, attempt: Attempt) -> None:
    administrator = await nats.connect(server.url())
    address = server.url().rpartition("@")[2]
    attacker = await nats.connect(
        f"nats://{address}",
        user=ATTACKER,
        password=PASSWORD,
        allow_reconnect=False,
        inbox_prefix=inbox_prefix(ATTACKER).encode(),
        error_cb=refused,
    )
    try:
        world = World(attacker, administrator)
        stream = administrator.jetstream()
        await stream.add_consumer(THEIRS, name=CONSUMER, durable_name=CONSUMER, ack_wait=600)
        await stream.publish(f"{PLATFORM}.events.user-service.user.created", b"{}")
        held = await stream.pull_subscribe_bind(CONSUMER, THEIRS)
        [message, *_] = await held.fetch(1, timeout=GUARD)
        world.reply = message.reply
        victims, shared, consumers, streams = await world.state()
        published = await attempt(world) or 0
        await flushed(attacker)
        await flushed(administrator)
        consumers = [(each, held, waiting + published, filters) for each, held, waiting, filters in consumers]
        assert await world.state() == (victims + published, shared + published, consumers, streams)
        await message.ack()
    finally:
        await attacker.close()
        await administrator.close()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_of_another_service_is_touched(server: Guarded, name: str) -> None:
    """No answer but an error, no message heard, and all that the other service has is as it was."""
    asyncio.run(asyncio.wait_for(run(server, ATTEMPTS[name]), GUARD))


def test_tooth_the_administrator_can(server: Guarded) -> None:
    """The comparison notices an acknowledgement by the administrator, who may do everything."""

    async def acknowledge(world: World) -> None:
        await world.administrator.publish(world.reply, b"+ACK")

    with pytest.raises(AssertionError):
        asyncio.run(asyncio.wait_for(run(server, acknowledge), GUARD))
