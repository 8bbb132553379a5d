from threading import Barrier, Thread

from bandstand.resilience import Limit


def test_no_more_than_the_limit_are_inside() -> None:
    """Whoever comes when it is full is turned away, and the next after one has left is let in."""
    limit = Limit(2)
    assert [limit.enter() for _ in range(3)] == [True, True, False]
    assert limit.inside == 2
    limit.leave()
    assert limit.enter()


def test_of_many_at_once_only_so_many_enter() -> None:
    """Threads that come together do not slip in together."""
    limit, gate = Limit(5), Barrier(20)
    entered: list[bool] = []

    def come() -> None:
        gate.wait()
        entered.append(limit.enter())

    threads = [Thread(target=come) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entered) == 5
