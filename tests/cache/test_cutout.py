from bandstand.cache.cutout import Cutout
from tests.clock import Clock


def test_it_opens_after_failures_in_a_row() -> None:
    """A success in between begins the count anew."""
    cutout = Cutout(limit=3, pause=2, clock=Clock())
    cutout.failed(), cutout.failed(), cutout.succeeded()
    assert [cutout.failed(), cutout.failed()] == [False, False]
    assert cutout.allows()
    assert cutout.failed() is True
    assert cutout.is_open
    assert not cutout.allows()


def test_one_asks_for_all() -> None:
    """In each pause one may try; its success closes the cut-out, its failure keeps it open for another pause."""
    clock = Clock()
    cutout = Cutout(limit=1, pause=2, clock=clock)
    cutout.failed()
    clock.now += 2.1
    assert [cutout.allows() for _ in range(5)] == [True, False, False, False, False]
    assert cutout.failed() is False
    clock.now += 1.9
    assert not cutout.allows()
    clock.now += 0.2
    assert cutout.allows()
    assert cutout.succeeded() is True
    assert all(cutout.allows() for _ in range(5))
    assert cutout.succeeded() is False


def test_a_probe_that_never_comes_back_does_not_keep_it_open() -> None:
    """When the one who tries dies, the next pause has another."""
    clock = Clock()
    cutout = Cutout(limit=1, pause=2, clock=clock)
    cutout.failed()
    clock.now += 3
    assert cutout.allows()
    clock.now += 3
    assert cutout.allows()
