"""Events that a stream dropped before a subscription got them, found from the numbers of stream and consumer."""

from bandstand.events.brokers.nats.gaps import GapWatch, Look


def test_what_was_pending_and_is_gone_is_missed() -> None:
    """The stream begins above all that waited, and only a part of it was delivered meanwhile."""
    watch = GapWatch()
    assert watch.missed("a", first=1, now=Look(pending=10, delivered=5, last=15)) == 0
    assert watch.missed("a", first=40, now=Look(pending=20, delivered=8, last=59)) == 7
    assert watch.missed("a", first=40, now=Look(pending=20, delivered=8, last=59)) == 0


def test_what_was_delivered_in_time_is_not() -> None:
    """A stream may drop what everybody has read, and what was for others."""
    watch = GapWatch()
    watch.missed("a", first=1, now=Look(pending=10, delivered=5, last=15))
    assert watch.missed("a", first=40, now=Look(pending=0, delivered=15, last=59)) == 0
    watch.missed("rare", first=1, now=Look(pending=0, delivered=1, last=15))
    assert watch.missed("rare", first=5_000, now=Look(pending=0, delivered=1, last=9_000)) == 0


def test_what_may_still_be_there_is_not_missed() -> None:
    """Events count as missed only when the stream holds none of the numbers that they may have."""
    watch = GapWatch()
    watch.missed("a", first=1, now=Look(pending=10, delivered=5, last=15))
    assert watch.missed("a", first=15, now=Look(pending=5, delivered=5, last=30)) == 0
    assert watch.missed("a", first=16, now=Look(pending=5, delivered=5, last=31)) == 10


def test_each_event_is_missed_once() -> None:
    """Looks that saw the same messages wait are not added up."""
    watch = GapWatch()
    for _ in range(5):
        watch.missed("a", first=1, now=Look(pending=10, delivered=0, last=10))
    assert watch.missed("a", first=11, now=Look(pending=0, delivered=0, last=10)) == 10
    assert watch.missed("a", first=50, now=Look(pending=0, delivered=0, last=49)) == 0


def test_a_consumer_that_was_made_anew_begins_anew() -> None:
    """The numbers of a new consumer, or of a new stream, are not compared with those of the old one."""
    watch = GapWatch()
    watch.missed("a", first=1, now=Look(pending=10, delivered=50, last=60))
    assert watch.missed("a", first=100, now=Look(pending=0, delivered=0, last=99)) == 0
    watch.missed("a", first=100, now=Look(pending=5, delivered=0, last=104))
    assert watch.missed("a", first=1, now=Look(pending=0, delivered=0, last=0)) == 0
