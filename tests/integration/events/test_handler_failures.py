"""Every way in which a handler can fail is a counted attempt, and no failure ends a thread or hides."""

from typing import Any

import pytest

from tests.integration.events.conftest import QUICK, Rig
from tests.integration.events.ledger.misbehaviours import LAZY, MISBEHAVIOURS

ATTEMPTS = len(QUICK["RETRY_DELAYS"])  # type: ignore[arg-type]
DEAD = "SELECT subscription, message_id, reason, attempts FROM bandstand_dead_letter"


def test_each_failure_is_counted_and_becomes_a_dead_letter(rig: Rig) -> None:
    """Each kind of failure ends as a dead letter, and the same process then handles further events on all threads."""
    process = rig.ready_worker(LEDGER_LAZY="1")
    wanted: dict[tuple[str, str], tuple[str, int]] = {}
    for number, name in enumerate(MISBEHAVIOURS):
        event = rig.write(number, key=name, do=f"misbehave:{name}")
        wanted["counted", event] = ("failed", 1 if name in {"driver commit", "driver rollback"} else ATTEMPTS)
    for number, name in enumerate(LAZY, 100):
        wanted["lazy", rig.write(number, key=name, do=f"lazy:{name}")] = ("failed", ATTEMPTS)

    def dead() -> dict[Any, Any]:
        return {(name, event): (reason, attempts) for name, event, reason, attempts in rig.query(DEAD)}

    rig.until(lambda: len(dead()) >= len(wanted), "all are dead letters")
    assert dead() == wanted
    committed = [list(MISBEHAVIOURS).index("driver commit")]  # past Django, so nobody could undo it
    assert [number for number in rig.effects() if number < 100] == committed

    for number in range(200, 220):
        rig.write(number)
    rig.until(lambda: rig.settled(*range(200, 220)), "what comes afterwards is handled")
    assert process.poll() is None


@pytest.mark.parametrize("rig", ["bandstand.postgresql"], indirect=True)
def test_an_event_that_can_t_begin_is_counted_in_the_end(rig: Rig) -> None:
    """An event that the inbox refuses again and again while the database answers becomes a dead letter."""
    rig.query("ALTER TABLE bandstand_inbox ADD CHECK (subscription <> 'typed')")
    rig.ready_worker()
    event = rig.write(1)
    rig.until(lambda: bool(rig.query(DEAD)), "a dead letter")
    assert rig.query(DEAD) == [("typed", event, "failed", ATTEMPTS)]
    rig.until(lambda: rig.settled(1), "the others have handled it")
