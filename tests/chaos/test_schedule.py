"""The strikes of a seed."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import bandstand
from bandstand import failpoints as points
from tests.chaos.schedule import (
    BROKERS,
    FAILPOINTS,
    OUTAGE,
    PAUSE_OF_SERVER,
    SILENCE,
    TWIN,
    Strike,
    failpoints,
    schedule,
    servers,
    victims,
)


def kills(strikes: tuple[Strike, ...]) -> list[Strike]:
    return [strike for strike in strikes if strike.fault == "kill"]


def test_a_seed_always_gives_the_same_strikes() -> None:
    """A run can be repeated by its seed; another seed gives another run."""
    assert schedule(7, 120) == schedule(7, 120)
    assert schedule(7, 120) != schedule(8, 120)
    assert failpoints(7) == failpoints(7) != failpoints(8)


@pytest.mark.parametrize("broker", BROKERS)
def test_everybody_is_killed_within_the_time(broker: str) -> None:
    """A run of two minutes kills each sort of process, and nothing after its end."""
    for seed in range(50):
        strikes = schedule(seed, 120, broker)
        assert {kill.victim for kill in kills(strikes)} == set(victims(broker)), seed
        assert all(0 < strike.at < strike.end + 0.01 <= 120 for strike in strikes)


def test_a_killed_server_has_time_to_come_back() -> None:
    """After a server nobody is killed for some seconds: else nothing would ever be ready."""
    for before, after in pairwise(kills(schedule(7, 600))):
        if before.victim in servers("nats"):
            assert after.at - before.at >= PAUSE_OF_SERVER[0]


def test_a_run_of_two_minutes_has_every_fault() -> None:
    """Poison, a transaction that stays open, a worker silent for longer than its lease, and a broker that is down."""
    strikes = {strike.fault: strike for strike in schedule(7, 120, "rabbitmq")}
    assert set(strikes) == {"kill", "pause", "outage", "poison", "late"}
    assert (strikes["outage"].victim, strikes["outage"].lasts) == ("rabbitmq", OUTAGE)
    assert strikes["pause"].victim.endswith("-worker")
    assert strikes["pause"].lasts == SILENCE > 15
    assert {strike.fault for strike in schedule(7, 40)} == {"kill", "poison"}


def test_what_a_trial_needs_is_not_killed() -> None:
    """Nobody kills the database of a transaction that is to stay open, nor a worker that is to be silent."""
    for seed in range(50):
        strikes = schedule(seed, 120)
        for trial in strikes:
            if trial.fault in {"late", "pause"}:
                spared = "postgres" if trial.fault == "late" else trial.victim
                assert not [
                    kill
                    for kill in kills(strikes)
                    if kill.victim == spared
                    and trial.at <= kill.at <= trial.end + (TWIN if trial.fault == "pause" else 0)
                ]


def test_the_fail_points_are_all_that_there_are() -> None:
    """Each place in the code where a process can be made to fall is one at which the run lets it fall, and no other."""
    house = Path(bandstand.__file__).parent
    places = {name for file in house.rglob("*.py") for name in re.findall(r'\.hit\("([a-z._]+)"\)', file.read_text())}
    assert set(FAILPOINTS) == places
    found = points.parse({"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": failpoints(7)})
    assert list(found) == list(FAILPOINTS)
    assert all(point.action == "kill" and point.at > 0 for point in found.values())
