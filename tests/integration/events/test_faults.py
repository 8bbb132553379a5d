"""Processes are killed with SIGKILL, at random and at named points; brokers and databases too. Nothing may be lost.

Each test ends with the ledger: committed events without effect, effects without event, repeated effects, and what is
stuck must all be zero. Where a protection is what makes it so, a second run with the protection off shows that the
ledger would notice.
"""

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections

from tests.integration.events.conftest import SERVICE, ZERO, Rig
from tests.integration.servers import Nats, Postgres
from tests.waiting import GUARD

pytestmark = pytest.mark.fault


@pytest.fixture
def own_nats(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> Iterator[Nats]:
    """A broker that a test may kill."""
    server = Nats()
    with contextlib.closing(server):
        server.start()
        server.declare(rig.platform, SERVICE)
        rig.nats = server
        yield server


def dies(rig: Rig, process: Any) -> None:
    rig.until(lambda: process.poll() is not None, "the worker is killed at the fail-point")
    assert process.returncode == -signal.SIGKILL


def messages(rig: Rig) -> list[tuple[str, int]]:
    """Return (key, number) of all messages in the stream, in order."""

    async def read(stream: Any, name: str) -> list[tuple[str, int]]:
        last = (await stream.stream_info(name)).state.last_seq
        bodies = [json.loads((await stream.get_msg(name, seq)).data) for seq in range(1, last + 1)]
        return [(body["partitionkey"], body["data"]["number"]) for body in bodies]

    found: list[tuple[str, int]] = rig.stream(read)
    return found


# --- the relay -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["relay.after_claim", "relay.after_publish"])
def test_a_relay_killed_on_the_way_loses_and_repeats_nothing(rig: Rig, point: str) -> None:
    """A relay that dies after its claim, or between confirmation and record, is followed by another that finishes."""
    rig.write_many(50)
    dies(rig, rig.worker("--only", "relay", failpoints=f"{point}=kill:1"))
    assert rig.count("bandstand_outbox WHERE sent_at IS NULL") == 50, "nothing counts as sent before the record"
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO
    assert len(messages(rig)) == 50, "the broker dropped what came twice"


def test_what_the_broker_forgot_is_known_to_the_inbox(rig: Rig) -> None:
    """After its duplicate window the broker takes events a second time; their effects are there once."""

    async def make(stream: Any, name: str) -> None:
        # Shorter than the lease of the killed relay, after which alone another one sends what it had claimed.
        config = (await stream.stream_info(name)).config
        await stream.update_stream(config, duplicate_window=0.1)

    rig.stream(make)
    rig.write_many(30)
    dies(rig, rig.worker("--only", "relay", failpoints="relay.after_publish=kill:1"))
    rig.ready_worker()
    rig.until(lambda: rig.at_rest("counted", "watcher"), "all effects, and nothing comes again")
    assert rig.ledger() == ZERO
    assert len(messages(rig)) > 30, "the tooth: the broker alone would have delivered twice"
    assert rig.ledger("watcher") == ZERO


def test_relays_share_the_work_and_keep_the_order(rig: Rig) -> None:
    """With three relays at once, each event is published once and each key's events in their order."""
    for _ in range(3):
        rig.worker("--only", "relay", events={"BATCH": 7})
    rig.write_many(600)
    rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "all are sent")
    found = messages(rig)
    assert sorted(number for _, number in found) == list(range(600))
    for key in {key for key, _ in found}:
        numbers = [number for each, number in found if each == key]
        assert numbers == sorted(numbers)


def test_a_late_commit_with_an_early_id_is_not_passed_over(rig: Rig) -> None:
    """A transaction that stays open while younger ones commit and are sent has its event sent when it commits."""
    rig.ready_worker()
    opened, close = threading.Event(), threading.Event()

    def hold() -> None:
        from django.db import transaction

        with transaction.atomic(using=rig.platform):
            rig.write(0)
            opened.set()
            close.wait(GUARD)
        connections[rig.platform].close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(GUARD)
    rig.write_many(20, 1)
    rig.until(lambda: rig.done(*range(1, 21)), "the younger ones")
    close.set()
    thread.join()
    rig.until(rig.settled, "the late one")
    assert rig.ledger() == ZERO


# --- the consumer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["consumer.after_handler", "consumer.after_commit", "consumer.before_acknowledge"])
def test_a_consumer_killed_in_the_middle_has_each_effect_once(rig: Rig, point: str) -> None:
    """Killed before the commit the event is handled again; killed after it, its repetition has no effect."""
    process = rig.ready_worker(failpoints=f"{point}=kill:5")
    rig.write_many(20)
    dies(rig, process)
    rig.ready_worker()
    rig.until(lambda: rig.at_rest("counted", "watcher"), "all effects, and nothing comes again")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_without_the_inbox_effects_would_repeat(rig: Rig) -> None:
    """The tooth: with the inbox switched off, the same kill after the commit makes the ledger count duplicates."""
    process = rig.ready_worker(failpoints="consumer.inbox,consumer.after_commit=kill:5")
    rig.write_many(20)
    dies(rig, process)
    rig.ready_worker(failpoints="consumer.inbox")
    rig.until(lambda: rig.repeats("counted", "watcher", "typed"), "a repeated effect")


@pytest.mark.parametrize(("switch", "published"), [("", 5), ("publish.insert", 0)])
def test_what_a_handler_publishes_goes_with_its_commit(rig: Rig, switch: str, published: int) -> None:
    """The effects and the events of a handler are committed together; the tooth: a publish() that writes nothing."""
    rig.ready_worker(failpoints=switch)
    for number in range(5):
        rig.write(number, do="answer")
    rig.until(lambda: rig.done(*range(5)), "all are handled")
    assert rig.count("bandstand_outbox WHERE type = 'number.answered'") == published


def test_an_event_that_kills_its_process_is_given_up_after_five_deaths(rig: Rig) -> None:
    """The deadly event ends as a dead letter after at most six restarts, and all others have their effects."""
    deadly = rig.write(0, key="deadly", do="die:99")
    rig.write_many(10, 1)
    process, starts = None, 0

    def buried() -> bool:
        nonlocal process, starts
        if process is None or process.poll() is not None:
            process = rig.worker()
            starts += 1
        return bool(rig.count("bandstand_dead_letter"))

    rig.until(buried, "the deadly event is given up")
    [(reason, deaths, message_id)] = rig.query("SELECT reason, deaths, message_id FROM bandstand_dead_letter")
    assert (reason, deaths, message_id) == ("deaths", 5, deadly)
    assert rig.count("attempt WHERE message_id = %s", deadly) == 5
    assert starts <= 6
    rig.until(lambda: rig.settled(*range(1, 11)), "the others")
    assert rig.ledger("counted", range(1, 11)) == ZERO


def test_what_a_killed_worker_had_in_hand_is_handled_side_by_side(rig: Rig) -> None:
    """Events whose process was killed run beside each other in the next one, as they did when they were new."""
    process = rig.ready_worker()
    for number in range(3):  # of four threads one is left to the other subscriptions
        rig.write(number, do="meet:6")
    rig.until(lambda: rig.count("attempt") == 3, "all handlers have begun, and wait for a second round")
    rig.stop(process, signal.SIGKILL)
    assert rig.effects() == []
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.count("attempt") == 6, "else they were not in the handler at the same time"
    assert rig.ledger() == rig.ledger("watcher") == ZERO


@pytest.mark.parametrize("deaths", [5, 2])
def test_a_deadly_event_takes_nobody_with_it(rig: Rig, deaths: int) -> None:
    """Slow events that are in hand when the deadly one strikes are all handled, however few deaths are allowed."""
    deadly = rig.write(0, key="deadly", do="die:99")
    for number in range(1, 7):
        rig.write(number, key=f"slow {number}", do="sleep:0.5")
    process = rig.worker(events={"MAX_DEATHS": deaths})

    def settled() -> bool:
        nonlocal process
        if process.poll() is not None:
            process = rig.worker(events={"MAX_DEATHS": deaths})
        return not rig.count("bandstand_delivery") and bool(rig.count("bandstand_dead_letter"))

    rig.until(settled, "the deadly one is given up")
    assert rig.query("SELECT message_id, deaths FROM bandstand_dead_letter") == [(deadly, deaths)]
    assert rig.count("attempt WHERE message_id = %s", deadly) == deaths
    rig.until(lambda: rig.settled(*range(1, 7)), "the others")
    assert rig.ledger("counted", range(1, 7)) == ZERO


def test_a_worker_that_was_paused_repeats_nothing(rig: Rig) -> None:
    """A worker stopped for longer than its lease wakes up late; another did its work, its own comes to nothing."""
    process, gate = rig.ready_worker(), rig.gate()
    rig.write(0, key="slow", do=f"wait:{gate}")
    rig.until(lambda: rig.count("attempt") == 1, "the handler has begun")
    process.send_signal(signal.SIGSTOP)
    rig.write_many(30, 1)
    other = rig.ready_worker()
    # Requests of the paused one that lie at NATS, for 5 s at most, draw some of the messages again and again.
    rig.until(lambda: rig.done(*range(1, 31)), "the others")
    gate.touch()
    process.send_signal(signal.SIGCONT)
    rig.until(rig.settled, "all effects")
    assert rig.stop(process) == 0, "it has ended what it had in hand"
    rig.until(lambda: rig.at_rest("counted", "watcher"), "nothing comes again")
    assert rig.ledger() == rig.ledger("watcher") == ZERO
    assert other.poll() is None


def test_a_worker_that_was_paused_soon_draws_nothing(rig: Rig) -> None:
    """What comes while a worker stands still waits for one that works: its requests at NATS end by themselves."""

    async def requests(stream: Any, name: str) -> int:
        return int((await stream.consumer_info(name, "ledger-service__counted")).num_waiting or 0)

    process = rig.ready_worker()
    assert rig.inbound(requests) == 1
    process.send_signal(signal.SIGSTOP)
    rig.until(lambda: rig.inbound(requests) == 0, "the requests have ended")


def test_without_the_inbox_a_late_wake_would_repeat(rig: Rig) -> None:
    """The tooth: with the inbox switched off, the paused worker's own transaction is a second effect."""
    process, gate = rig.ready_worker(failpoints="consumer.inbox"), rig.gate()
    rig.write(0, key="slow", do=f"wait:{gate}")
    rig.until(lambda: rig.count("attempt") == 1, "the handler has begun")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)  # every thread of it; a signal alone is no stop yet
    gate.touch()
    rig.ready_worker(failpoints="consumer.inbox")
    rig.until(lambda: bool(rig.effects()), "the other worker's effect")
    process.send_signal(signal.SIGCONT)
    rig.until(lambda: rig.effects() == [0, 0], "the effect of the one that woke")


def test_without_the_drain_what_is_in_flight_is_begun_again(rig: Rig) -> None:
    """The tooth of what follows: a worker that does not wait for its handlers leaves them to be handled again."""
    process, gate = rig.ready_worker(failpoints="consumer.drain"), rig.gate()
    for number in range(4):
        rig.write(number, do=f"wait:{gate}")
    rig.until(lambda: rig.count("attempt") >= 3, "handlers run")
    rig.stop(process)
    assert rig.effects() == []
    gate.touch()
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.count("attempt") > 4
    assert rig.ledger() == ZERO, "and yet nothing is lost or repeated"


@pytest.mark.parametrize("inbox", [True, False])
def test_two_workers_that_have_the_same_event_at_the_same_time(rig: Rig, inbox: bool) -> None:
    """Copies that the broker gives to two workers at once have one effect; the tooth: without the inbox, several."""
    for _ in range(2):
        rig.ready_worker(failpoints="" if inbox else "consumer.inbox")
    event = {"specversion": "1.0", "source": "stranger", "id": "both", "type": "number.counted"}
    body = json.dumps({**event, "data": {"number": 0, "do": "sleep:0.3"}}).encode()

    async def send(stream: Any, name: str) -> None:
        del name
        for _ in range(60):  # more than one worker may hold
            await stream.publish(f"{rig.platform}.events.stranger.number.counted", body)

    rig.stream(send)
    rig.until(lambda: bool(rig.effects()), "the effect")
    if inbox:
        rig.until(lambda: rig.at_rest("counted"), "all copies are settled")
        assert rig.effects() == rig.effects("watcher") == [0]
        assert rig.count("attempt") == 1
    else:
        rig.until(lambda: len(rig.effects()) > 1, "repeated effects")


def test_sigterm_finishes_what_is_in_flight(rig: Rig) -> None:
    """A worker that is asked to stop ends its handlers, gives nothing back, and the next one repeats nothing."""
    process, gate = rig.ready_worker(events={"LEASE": 60.0}), rig.gate()
    for number in range(4):
        rig.write(number, do=f"wait:{gate}")
    rig.until(lambda: rig.count("attempt") >= 3, "handlers run")
    process.send_signal(signal.SIGTERM)
    rig.until(lambda: "Stopping, because of SIGTERM" in rig.log.read_text(), "it is told to stop")
    gate.touch()
    assert process.wait(GUARD) == 0
    assert len(rig.effects()) >= 3

    async def redelivered(stream: Any, name: str) -> int:
        consumers = [f"ledger-service__{each}" for each in ("counted", "watcher", "typed")]
        return sum([(await stream.consumer_info(name, each)).num_redelivered for each in consumers])

    assert rig.inbound(redelivered) == 0
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == ZERO
    assert rig.count("attempt") == 4


def test_a_changed_pattern_leaves_nobody_deaf(rig: Rig) -> None:
    """A subscription that listens to another type after a release hears it, with the same durable consumer."""
    first = rig.ready_worker(LEDGER_PATTERN="number.answered")
    rig.write(0)
    rig.until(lambda: rig.effects("watcher") == [0], "the watcher")
    assert rig.effects("counted") == []
    rig.stop(first)
    rig.ready_worker(LEDGER_PATTERN="number.counted")
    rig.write(1)
    rig.until(lambda: 1 in rig.effects("counted"), "the new type")


# --- servers ---------------------------------------------------------------------------------------


def test_a_broker_that_is_down_fails_no_write(rig: Rig, own_nats: Nats) -> None:
    """While the broker is killed and started again, every write commits, and everything arrives once afterwards."""
    rig.ready_worker()
    for number in range(3):
        rig.write_many(30, number * 60)
        own_nats.kill()
        rig.write_many(30, number * 60 + 30)
        own_nats.start()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_a_broker_that_is_down_for_longer_than_it_remembers(rig: Rig, own_nats: Nats) -> None:
    """What it had taken, and nobody recorded, is sent and taken again when it is back; its effects are there once."""

    async def make(stream: Any, name: str) -> None:
        # Shorter than the lease of the killed relay, after which alone another one sends what it had claimed.
        config = (await stream.stream_info(name)).config
        await stream.update_stream(config, duplicate_window=0.5)

    rig.stream(make)
    rig.write_many(30)
    dies(rig, rig.worker("--only", "relay", failpoints="relay.after_publish=kill:1"))
    own_nats.kill()
    rig.worker("--only", "relay")
    rig.write_many(30, 30)
    own_nats.start()
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert len(messages(rig)) > 60, "the tooth: the broker alone would have delivered twice"
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_a_database_that_is_killed_loses_nothing(rig: Rig, postgres: Postgres) -> None:
    """After SIGKILL of PostgreSQL what was committed has its effect once; the worker heals by itself."""
    process = rig.ready_worker()
    acknowledged: list[int] = []
    for round_ in range(2):
        rig.write_many(20, round_ * 100)
        acknowledged += range(round_ * 100, round_ * 100 + 20)
        postgres.kill()
        with pytest.raises(OperationalError):
            rig.write(round_ * 100 + 99)
        connections[rig.platform].close()
        postgres.start()
    rig.write(999)
    acknowledged.append(999)
    rig.until(rig.settled, "all effects")
    assert set(acknowledged) <= set(rig.effects())
    assert rig.ledger() == rig.ledger("watcher") == ZERO
    assert process.poll() is None, "the worker itself never died"


@pytest.mark.parametrize("switch", ["", "consumer.healing"])
def test_a_broken_connection_is_healed_before_the_handler(rig: Rig, switch: str) -> None:
    """When the server ended the idle sessions, the next event is handled at once; without healing it has to wait."""
    rig.ready_worker("--only", "consumer", failpoints=switch)
    rig.ready_worker("--only", "relay")
    rig.write(0)
    rig.until(rig.settled, "the first")
    connections[rig.platform].close()
    rig.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
        rig.platform,
    )
    rig.write_many(8, 1)
    rig.until(rig.settled, "the others")
    assert ("An event has to wait" in rig.log.read_text()) == bool(switch)
    assert rig.ledger() == ZERO


def test_a_commit_wakes_the_relay(rig: Rig) -> None:
    """With a poll interval of ten minutes each event is sent at its commit."""
    rig.ready_worker("--only", "relay", events={"POLL_INTERVAL": 600})
    listening = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'LISTEN%%'"
    rig.until(lambda: bool(rig.query(listening, rig.platform)), "the relay listens")
    for number in range(3):  # the first may be found by the look at the start
        rig.write(number)
        rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "it is sent")


def test_a_deleted_stream_comes_back(rig: Rig) -> None:
    """One that somebody deletes is declared again by the administrator, and events that were not sent yet arrive."""
    rig.ready_worker()
    rig.write_many(30)
    rig.until(rig.settled, "the first")

    async def delete(stream: Any, name: str) -> None:
        await stream.delete_stream(name)

    for number, deleted in enumerate((rig.stream, rig.inbound, rig.stream), 1):
        deleted(delete)
        rig.write_many(5, number * 100)
        rig.nats.declare(rig.platform, SERVICE)
        rig.until(rig.settled, "the others")
    assert rig.ledger() == ZERO


def test_workers_killed_at_random_lose_nothing(rig: Rig) -> None:
    """Two workers, killed again and again at random moments while a service writes: the ledger stays at zero."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    enough = threading.Event()

    def write() -> None:
        for number in range(1500):  # on a slow machine, too, no more than can be drained
            rig.write(number)
            if enough.wait(0.02):
                break
        connections[rig.platform].close()

    rig.ready_worker()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            victim = rig.ready_worker()
            time.sleep(chance.uniform(0.0, 0.3))
            victim.kill()
            victim.wait()
    finally:
        enough.set()
        writer.join()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO
