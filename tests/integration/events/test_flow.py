"""Events on their way through a real worker, PostgreSQL and NATS; nothing dies here.

The tests share one worker, so each uses numbers and keys of its own.
"""

import json
from collections import Counter
from typing import Any

from bandstand.context import bind, new_context
from tests.integration.events.conftest import LEASE, ZERO, Rig


def counted(service: Rig, number: int) -> bool:
    return service.effects().count(number) == 1


def test_every_subscription_gets_every_event_once(service: Rig) -> None:
    """What is committed has its effect once in each subscription."""
    numbers = range(1000, 1200)
    for number in numbers:
        service.write(number)
    service.until(lambda: service.settled(*numbers), "all effects")
    assert service.ledger("counted", numbers) == ZERO
    assert service.ledger("watcher", numbers) == ZERO


def test_events_of_a_key_are_handled_in_order(service: Rig) -> None:
    """With four handler threads, each key's events are handled in the order of their publication."""
    numbers = range(2000, 2300)
    for number in numbers:
        service.write(number, key=f"ordered {number % 10}")
    service.until(lambda: service.done(*numbers), "all effects")
    rows = service.query("SELECT key, number FROM effect WHERE subscription = 'counted' AND number >= 2000 ORDER BY id")
    for key in {row[0] for row in rows}:
        found = [number for each, number in rows if each == key]
        assert found == sorted(found)


def test_the_context_goes_along(service: Rig) -> None:
    """Correlation id and cause travel from the publisher to the handler, and on to the events that it publishes."""
    with bind(new_context(correlation_id="correlation-of-100")):
        identifier = service.write(100, do="answer")
    service.until(lambda: service.effects("watcher").count(100) == 2, "the answer's effect")
    rows = service.query("SELECT correlation_id, causation_id FROM effect WHERE number = 100")
    assert {row[0] for row in rows} == {"correlation-of-100"}
    assert [row[1] for row in rows].count(identifier) == 1
    lines = [line for line in service.log.read_text().splitlines() if f"event_id={identifier}" in line]
    assert len(lines) == 3
    assert all("[ation-of-100]" in line for line in lines), "each line of the log carries the correlation id"


def test_attempts_are_counted_and_then_the_event_is_dead(service: Rig) -> None:
    """A handler that always fails gets exactly its attempts; replayed, it gets them all again."""
    identifier = service.write(200, key="dead", do="fail:4")
    service.until(lambda: service.count("bandstand_dead_letter WHERE message_id = %s", identifier) == 1, "dead")
    assert service.count("attempt WHERE message_id = %s", identifier) == 3
    assert not counted(service, 200)
    assert service.effects("watcher").count(200) == 1, "the other handler is not touched"
    [(dead,)] = service.query("SELECT id FROM bandstand_dead_letter WHERE message_id = %s", identifier)
    assert "ValueError: attempt 3" in service.command("events", "dead", "list")
    assert "Replayed 1." in service.command("events", "dead", "replay", str(dead))
    service.until(lambda: counted(service, 200), "the effect")
    assert service.count("attempt WHERE message_id = %s", identifier) == 5
    assert service.count("bandstand_dead_letter WHERE message_id = %s", identifier) == 0


def test_a_failing_key_waits_and_keeps_its_order(service: Rig) -> None:
    """While an event is retried, younger ones of its key wait and other keys go on; then they come in order."""
    gate = service.gate()
    service.write(300, key="waits", do=f"fail-and-wait:{gate}")
    for number in (301, 302, 303):
        service.write(number, key="waits")
    service.write(310, key="goes on")
    service.until(lambda: service.done(310), "the effect of the other key")
    assert not service.done(301)
    gate.touch()
    service.until(lambda: service.done(300, 301, 302, 303), "all effects")
    assert [number for number in service.effects() if 300 <= number <= 303] == [300, 301, 302, 303]


def test_a_long_handler_keeps_its_event(service: Rig) -> None:
    """A handler that runs for two and a half leases is not started a second time."""
    identifier = service.write(400, key="long", do=f"sleep:{2.5 * LEASE}")
    service.until(lambda: counted(service, 400), "the effect")
    service.until(lambda: not service.to_come("counted"), "nothing comes again")
    assert service.count("attempt WHERE message_id = %s", identifier) == 1


def send_raw(service: Rig, body: bytes, times: int = 1, message_id: str = "") -> None:
    """Publish past the outbox, as another service might; each with an id of its own for the broker, or with none."""

    async def send(stream: Any, name: str) -> None:
        for number in range(times):
            headers = {"Nats-Msg-Id": f"{message_id}-{number}"} if message_id else None
            await stream.publish(f"{service.platform}.events.stranger.number.counted", body, headers=headers)

    service.stream(send)


def stranger(**changes: object) -> bytes:
    event = {"specversion": "1.0", "source": "stranger", "type": "number.counted", **changes}
    return json.dumps(event).encode()


def test_the_same_event_five_times_has_one_effect(service: Rig) -> None:
    """Deliveries that the broker does not know to be repetitions, as after its duplicate window, have no effect."""
    send_raw(service, stranger(id="again", data={"number": 500}), 5, "again")
    service.until(lambda: counted(service, 500), "the effect")
    service.until(lambda: not service.to_come("counted", "watcher"), "all copies are settled")
    assert Counter(service.effects())[500] == 1
    assert Counter(service.effects("watcher"))[500] == 1


def test_rubbish_is_dead_at_once(service: Rig) -> None:
    """No event, unknown version, wrong field, NUL or borrowed name: a dead letter each, and the worker goes on."""
    send_raw(service, b"\x00\xff rubbish", message_id="rubbish")
    send_raw(service, stranger(id="new", data={}, dataschema="bandstand:number.counted/7"))
    send_raw(service, stranger(id="odd", data={"number": "seven"}))
    send_raw(service, stranger(id="nul", data={}, partitionkey="a\x00b"))
    send_raw(service, stranger(id="disguised", data={"number": 1}, source="ledger-service"))
    dead = "bandstand_dead_letter WHERE subscription = 'typed' AND reason = 'invalid' AND attempts = 0"
    service.until(lambda: service.count(dead) == 5, "five dead letters")
    service.write(600)
    service.until(lambda: counted(service, 600), "the worker goes on")


def test_status_names_the_subscriptions(service: Rig) -> None:
    """Status tells machines about the outbox and each subscription."""
    status = json.loads(service.command("events", "status", "--json"))
    assert {"counted", "typed", "watcher"} <= {each["name"] for each in status["subscriptions"] if each["known"]}
    assert status["outbox"]["parked"] == 0
