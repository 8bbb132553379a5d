"""Outbox, relay, RabbitMQ, consumer, handler: the ledger of a service whose platform is on RabbitMQ."""

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from bandstand.events.brokers import Binding, BrokerOptions, Outgoing
from bandstand.events.brokers.rabbitmq import RabbitMqBroker
from bandstand.testing.broker_conformance import Inbox
from tests.integration.events.conftest import ZERO, Rig
from tests.integration.events.rabbit import Rabbit
from tests.integration.servers import Postgres

pytestmark = pytest.mark.fault

LEASE = {"LEASE": 4.0}  # also the longest silence of a connection; a busy machine is not always there within a second


@pytest.fixture
def service(postgres: Postgres, rabbit: Rabbit, template: str, django_db_blocker: Any) -> Iterator[Rig]:
    """A service that publishes to RabbitMQ; a rig asks its broker for nothing but the URL."""
    with django_db_blocker.unblock(), contextlib.closing(Rig(postgres, rabbit, template)) as made:  # type: ignore[arg-type]
        yield made


def test_two_relays_publish_each_event_once_and_in_order(service: Rig, rabbit: Rabbit) -> None:
    """With two relays at once each event is published once, and those of a key in their order."""
    inbox = Inbox()
    rabbit.declare(service.platform, "watcher")
    watcher = RabbitMqBroker(rabbit.url(), BrokerOptions(platform=service.platform, service="watcher"))
    watcher.consume([Binding(subscription="all", pattern="number.*")], inbox)
    with contextlib.closing(watcher):
        watcher.open(lambda: None)
        service.until(lambda: watcher.connected, "the watcher is connected")
        for _ in range(2):
            service.worker("--only", "relay", events={"BATCH": 7, **LEASE})
        service.write_many(600)
        service.until(lambda: len(inbox.received) >= 600, "all are published")
        assert service.count("bandstand_outbox WHERE sent_at IS NULL") == 0
    bodies = [json.loads(body) for body in inbox.bodies()]
    assert sorted(body["data"]["number"] for body in bodies) == list(range(600))
    for key in {body["partitionkey"] for body in bodies}:
        numbers = [body["data"]["number"] for body in bodies if body["partitionkey"] == key]
        assert numbers == sorted(numbers)


def test_a_broker_killed_under_way_loses_and_repeats_nothing(service: Rig, running: Rabbit) -> None:
    """While RabbitMQ is killed and started again every write commits, and everything has its effect once."""
    service.ready_worker(events=LEASE)
    running.settle(*(f"{service.platform}.ledger-service.{each}" for each in ("counted", "watcher", "typed")))
    service.write_many(50)
    running.kill()
    service.write_many(50, 50)
    running.start()
    service.write_many(50, 100)
    running.kill()
    running.start()
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO


@pytest.mark.parametrize("point", ["consumer.after_handler", "consumer.after_commit", "consumer.before_acknowledge"])
def test_a_consumer_killed_in_the_middle_has_each_effect_once(service: Rig, point: str) -> None:
    """Killed before the commit the event is handled again; killed after it, its repetition has no effect."""
    process = service.ready_worker(failpoints=f"{point}=kill:5", events=LEASE)
    service.write_many(20)
    service.until(lambda: process.poll() is not None, "the worker is killed at the fail-point")
    assert process.returncode == -signal.SIGKILL
    service.ready_worker(events=LEASE)
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO


def test_a_relay_killed_after_the_confirmation_repeats_no_effect(service: Rig) -> None:
    """RabbitMQ takes an event a second time; the inbox knows it."""
    service.write_many(30)
    process = service.worker("--only", "relay", failpoints="relay.after_publish=kill:1", events=LEASE)
    service.until(lambda: process.poll() is not None, "the relay is killed at the fail-point")
    assert service.count("bandstand_outbox WHERE sent_at IS NULL") == 30
    service.ready_worker(events=LEASE)
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO


def test_an_event_that_kills_its_process_is_given_up_after_five_deaths(service: Rig) -> None:
    """A message that comes again counts as a death; the deadly event ends as a dead letter, all others are handled."""
    deadly = service.write(0, key="deadly", do="die:99")
    service.write_many(10, 1)
    process, starts = None, 0

    def buried() -> bool:
        nonlocal process, starts
        if process is None or process.poll() is not None:
            process = service.worker(events=LEASE)
            starts += 1
        return bool(service.count("bandstand_dead_letter"))

    service.until(buried, "the deadly event is given up")
    [(reason, deaths, message_id)] = service.query("SELECT reason, deaths, message_id FROM bandstand_dead_letter")
    assert (reason, deaths, message_id) == ("deaths", 5, deadly)
    assert starts <= 6
    service.until(lambda: service.done(*range(1, 11)), "the others")
    assert service.ledger("counted", range(1, 11)) == ZERO


def test_what_a_killed_worker_had_in_hand_is_handled_side_by_side(service: Rig) -> None:
    """Messages that RabbitMQ brings again after a kill are handled in parallel, as new ones are."""
    process = service.ready_worker(events=LEASE)
    for number in range(3):
        service.write(number, do="meet:6")
    service.until(lambda: service.count("attempt") == 3, "all handlers have begun, and wait for a second round")
    service.stop(process, signal.SIGKILL)
    service.ready_worker(events=LEASE)
    service.until(service.settled, "all effects")
    assert service.count("attempt") == 6, "else they were not in the handler at the same time"
    assert service.ledger() == service.ledger("watcher") == ZERO


def test_a_worker_that_was_paused_repeats_nothing(service: Rig) -> None:
    """A worker stopped for longer than its lease loses its connection; another does its work, and its own comes to
    nothing when it wakes up."""
    process, gate = service.ready_worker(events=LEASE), service.gate()
    service.write(0, key="slow", do=f"wait:{gate}")
    service.until(lambda: service.count("attempt") == 1, "the handler has begun")
    process.send_signal(signal.SIGSTOP)
    service.write_many(30, 1)
    service.ready_worker(events=LEASE)
    service.until(lambda: service.done(*range(1, 31)), "the others")
    gate.touch()
    process.send_signal(signal.SIGCONT)
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO


@pytest.mark.parametrize("inbox", [True, False])
def test_two_workers_that_have_the_same_event_at_the_same_time(service: Rig, rabbit: Rabbit, inbox: bool) -> None:
    """RabbitMQ takes an event as often as it comes. Copies at two workers at once have one effect; the tooth: without
    the inbox, several."""
    for _ in range(2):
        service.ready_worker(events=LEASE, failpoints="" if inbox else "consumer.inbox")
    event = {"specversion": "1.0", "source": "stranger", "id": "both", "type": "number.counted"}
    body = json.dumps({**event, "data": {"number": 0, "do": "sleep:0.3"}}).encode()
    rabbit.declare(service.platform, "stranger")
    stranger = RabbitMqBroker(rabbit.url(), BrokerOptions(platform=service.platform, service="stranger"))
    with contextlib.closing(stranger):
        stranger.open(lambda: None)
        service.until(lambda: stranger.connected, "the stranger is connected")
        copies = [Outgoing(id="both", type="number.counted", body=body)] * 60  # more than one worker may hold
        assert stranger.publish(copies) == [None] * 60
    service.until(lambda: bool(service.effects()), "the effect")
    if inbox:
        service.write(1)
        service.until(lambda: service.effects() == service.effects("watcher") == [0, 1], "one effect each")
        assert service.count("attempt") == 1
    else:
        service.until(lambda: len(service.effects()) > 1, "repeated effects")


def test_what_nobody_can_read_is_dead_at_once(service: Rig, rabbit: Rabbit) -> None:
    """Rubbish is a dead letter of each subscription that hears its type, and what comes after it is handled."""
    service.ready_worker(events=LEASE)
    rabbit.declare(service.platform, "stranger")
    stranger = RabbitMqBroker(rabbit.url(), BrokerOptions(platform=service.platform, service="stranger"))
    with contextlib.closing(stranger):
        stranger.open(lambda: None)
        service.until(lambda: stranger.connected, "the stranger is connected")
        assert stranger.publish([Outgoing(id="rubbish", type="number.counted", body=b"\x00\xff")]) == [None]
    dead = "bandstand_dead_letter WHERE message_id = 'rubbish' AND reason = 'invalid' AND attempts = 0"
    service.until(lambda: service.count(dead) == 3, "a dead letter for each subscription")
    service.write(0)
    service.until(service.settled, "the worker goes on")
    assert service.ledger() == ZERO


def test_a_server_without_memory_has_no_row_marked_sent(service: Rig, rabbit: Rabbit) -> None:
    """During a resource alarm events wait in the outbox, none is taken for sent, and afterwards all arrive once."""
    service.ready_worker(events=LEASE)
    rabbit.control("set_vm_memory_high_watermark", "0")
    try:
        service.write_many(20)
        service.until(lambda: "memory or disk is full" in service.log.read_text(), "the alarm is told")
        assert service.count("bandstand_outbox WHERE sent_at IS NOT NULL") == 0
    finally:
        rabbit.control("set_vm_memory_high_watermark", "0.4")
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO


def test_sigterm_leaves_nothing_that_counts_as_repeated(service: Rig) -> None:
    """A worker that is asked to stop under load finishes what it was brought; the next one counts no deaths."""
    first = service.ready_worker(events=LEASE)
    service.write_many(300)
    service.until(lambda: len(service.effects()) > 20, "it is at work")
    assert service.stop(first) == 0
    service.ready_worker(events=LEASE)
    service.until(service.settled, "all effects")
    assert service.ledger() == service.ledger("watcher") == ZERO
    assert "An event has to wait" not in service.log.read_text()


def test_the_status_knows_what_is_in_the_queues(service: Rig, rabbit: Rabbit) -> None:
    """Messages that wait in the queues are counted; asking declares nothing, and a wrong password is an error."""
    service.stop(service.ready_worker(events=LEASE))
    service.write_many(5)
    service.ready_worker("--only", "relay", events=LEASE)
    service.until(lambda: at_broker(service) == {5}, "all is relayed")
    assert "5 at the broker, 0 waiting" in service.command("events", "status")
    options = BrokerOptions(platform=service.platform, service="ledger-service")
    assert RabbitMqBroker(rabbit.url(), options).waiting(["nobody"], 5.0) == {}
    refused = service.command("events", "status", BROKER_URL=rabbit.url("nobody", "secret"))
    assert "does not know the user 'nobody'" in refused
    assert "secret" not in refused


def at_broker(service: Rig) -> set[int | None]:
    status = json.loads(service.command("events", "status", "--json"))
    return {each["at_broker"] for each in status["subscriptions"]}
