"""Status, traces and repairs on PostgreSQL and NATS, with a worker that runs as a process of its own.

The tests share one worker, so each uses numbers and keys of its own.
"""

import json
from threading import Thread
from typing import Any
from urllib.request import urlopen

from bandstand.context import bind, new_context
from bandstand.events.brokers import BrokerOptions
from bandstand.events.brokers.nats import NatsBroker
from tests.integration.events.conftest import Rig
from tests.ports import held_port
from tests.waiting import GUARD


def trace(service: Rig, asked: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(service.command("events", "trace", asked, "--json"))
    return found


def dead_letter(service: Rig, number: int, do: str, key: str) -> tuple[str, int]:
    """Write an event that becomes a dead letter; return its id and the letter's number."""
    identifier = service.write(number, key=key, do=do)
    where = "bandstand_dead_letter WHERE message_id = %s"
    service.until(lambda: service.count(where, identifier) == 1, "dead")
    [(letter,)] = service.query(f"SELECT id FROM {where}", identifier)
    return identifier, letter


def test_a_trace_tells_the_whole_way(service: Rig) -> None:
    """Published, relayed, an attempt that failed, handled by each subscription, and the event that this caused."""
    with bind(new_context(correlation_id="correlation-of-700")):
        identifier = service.write(700, key="trace", do="answer")
        failing = service.write(701, key="trace", do="fail:1")
    service.until(lambda: service.effects().count(701) == 1 and service.effects("watcher").count(700) == 2, "effects")
    service.until(lambda: not service.count("bandstand_outbox WHERE sent_at IS NULL"), "all is relayed")
    story = trace(service, "correlation-of-700")
    events = {event["id"]: event for event in story["events"]}
    [answer] = [event for event in story["events"] if event["type"] == "number.answered"]
    assert answer["causation_id"] == identifier
    assert all(event["relayed_at"] >= event["published_at"] for event in story["events"])
    assert set(events) == {identifier, failing, answer["id"]}
    states = {(each["event_id"], each["subscription"]): each for each in story["deliveries"]}
    assert {each["state"] for each in states.values()} == {"handled"}
    assert {name for event_id, name in states if event_id == identifier} == {"counted", "watcher", "typed"}
    [entry] = states[failing, "counted"]["history"]
    assert (entry["what"], entry["number"]) == ("failed", 1)
    assert "ValueError: attempt 1" in entry["text"]
    assert states[failing, "watcher"]["history"] == []
    assert trace(service, identifier)["events"] == story["events"]


def test_a_trace_reads_by_an_index(rig: Rig) -> None:
    """However many sent rows are kept, those of a correlation are found without reading the others."""
    rig.query(
        "INSERT INTO bandstand_outbox (message_id, type, key, correlation_id, body, created_at, sent_at) "
        "SELECT n::text, 't', 'k', 'correlation-' || n, '{}', now(), now() FROM generate_series(1, 20000) AS n"
    )
    rig.query("ANALYZE bandstand_outbox")
    plan = rig.query(
        "EXPLAIN SELECT * FROM bandstand_outbox WHERE correlation_id IN ('correlation-7', 'x') "
        "AND sent_at IS NOT NULL ORDER BY id LIMIT 501"
    )
    assert "bandstand_outbox_correlated" in str(plan)


def test_a_replay_is_told_when_it_is_handled(service: Rig) -> None:
    """--wait ends with status 0 and the number once the worker has committed, and by no means before."""
    _, letter = dead_letter(service, 710, "fail:4", "replay")
    said = service.command("events", "dead", "replay", str(letter), "--wait", "120")
    assert "Handled 1." in said
    assert service.effects().count(710) == 1
    assert service.count("bandstand_dead_letter WHERE id = %s", letter) == 0


def test_a_replay_that_fails_again_is_told(service: Rig) -> None:
    """With --wait, what is dead again is no success; its error is shown."""
    identifier, letter = dead_letter(service, 711, "fail:99", "replay again")
    said = service.command("events", "dead", "replay", str(letter), "--wait", "120")
    assert "Handled 0." in said
    assert "dead: ValueError: attempt 6" in said
    service.command("events", "dead", "drop", "--error", identifier, "--yes")


def test_two_who_replay_one_letter_replay_it_once(service: Rig) -> None:
    """At the same moment, in two processes, on real rows: one says 1, the other that it is gone, or is not there."""
    identifier, letter = dead_letter(service, 712, "fail:3", "replay twice")
    said: list[str] = []
    threads = [
        Thread(target=lambda: said.append(service.command("events", "dead", "replay", str(letter)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("Replayed 1." in each for each in said) == 1
    service.until(lambda: service.effects().count(712) == 1, "the effect")
    service.until(lambda: not service.count("bandstand_delivery WHERE message_id = %s", identifier), "all is done")
    assert service.effects().count(712) == 1


def test_an_edited_event_is_handled_as_it_is_now(service: Rig) -> None:
    """What did not fit is stored only once it does, and then handled by that subscription alone."""
    identifier, letter = dead_letter(service, 720, "fail:99", "edit")
    refused = service.command("events", "dead", "edit", str(letter), "--data", '{"number": 720')
    assert "Nothing was stored" in refused
    assert "Stored." in service.command("events", "dead", "edit", str(letter), "--data", '{"number": 721}')
    assert "Handled 1." in service.command("events", "dead", "replay", str(letter), "--wait", "120")
    assert service.effects().count(721) == 1
    assert service.effects("watcher").count(721) == 0
    [entry] = service.query("SELECT text FROM bandstand_history WHERE what = 'edited' AND message_id = %s", identifier)
    assert json.loads(entry[0])["number"] == 720


def test_the_status_knows_what_is_at_the_broker(rig: Rig) -> None:
    """What nobody has consumed yet waits at NATS; a subscription that has no consumer yet is not known there."""
    rig.stop(rig.ready_worker())
    rig.write_many(5)
    rig.ready_worker("--only", "relay")
    rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "all is relayed")
    rig.until(lambda: _at_broker(rig) == {"counted": 5, "watcher": 5, "typed": 5}, "all wait at the broker")
    status = json.loads(rig.command("events", "status", "--json"))
    assert (status["outbox"]["pending"], status["sent"]) == (0, 5)
    rig.ready_worker("--only", "consumer")
    rig.until(rig.settled, "all effects")
    rig.until(lambda: set(_at_broker(rig).values()) == {0}, "nothing waits at the broker")


def _at_broker(rig: Rig) -> dict[str, int | None]:
    """How many of each subscription wait there; None where the broker did not answer in time."""
    status = json.loads(rig.command("events", "status", "--json"))
    return {each["name"]: each["at_broker"] for each in status["subscriptions"]}


def test_a_subscription_that_was_never_there_is_left_out(rig: Rig) -> None:
    """NATS has no consumer of that name, so nothing is said of it; nothing is declared by asking."""
    options = BrokerOptions(platform=rig.platform, service="ledger-service")
    assert NatsBroker(rig.nats.url(), options).waiting(["nobody"], GUARD) == {}


def test_a_broker_that_is_away_does_not_hide_the_rest(rig: Rig) -> None:
    """The status comes all the same, from the database, and says why the broker is missing."""
    port = held_port()
    rig.write(1)
    said = rig.command("events", "status", "--json", BROKER_URL=f"nats://127.0.0.1:{port}")
    status = json.loads(said)
    assert "can't be asked" in status["broker_error"]
    assert status["outbox"]["pending"] == 1


def test_a_worker_can_be_watched(rig: Rig) -> None:
    """It answers on the port that it is given, and its counters move."""
    port = held_port()
    worker = rig.ready_worker(BANDSTAND_WORKER_PORT=str(port))
    rig.write(1)
    expected = {
        'bandstand_events_attempts_total{outcome="handled",subscription="counted"} 1.0',
        'bandstand_events_relayed_total{type="number.counted"} 1.0',
        'bandstand_events_lag_seconds_count{subscription="counted"} 1.0',
    }

    def lines() -> list[str]:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=GUARD) as answer:
            return str(answer.read().decode()).splitlines()

    rig.until(lambda: expected <= set(lines()), "the counters, which move once the effect is committed")
    with urlopen(f"http://127.0.0.1:{port}/health/ready/", timeout=GUARD) as answer:
        assert answer.status == 200
    assert rig.stop(worker) == 0
