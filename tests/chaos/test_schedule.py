"""The kills of a seed."""

from itertools import pairwise

from tests.chaos.schedule import PAUSE_OF_SERVER, SERVERS, VICTIMS, schedule


def test_a_seed_always_gives_the_same_kills() -> None:
    """A run can be repeated by its seed; another seed gives another run."""
    assert schedule(7, 120) == schedule(7, 120)
    assert schedule(7, 120) != schedule(8, 120)


def test_everybody_is_killed_within_the_time() -> None:
    """A run of two minutes kills each sort of process, and nothing after its end."""
    for seed in range(50):
        kills = schedule(seed, 120)
        assert {kill.victim for kill in kills} == set(VICTIMS), seed
        assert all(0 < kill.at < 120 for kill in kills)


def test_a_killed_server_has_time_to_come_back() -> None:
    """After a server nobody is killed for some seconds: else nothing would ever be ready."""
    for before, after in pairwise(schedule(7, 600)):
        if before.victim in SERVERS:
            assert after.at - before.at >= PAUSE_OF_SERVER[0]
