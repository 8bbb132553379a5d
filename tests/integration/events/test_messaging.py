"""``MessageConsumer.start_consuming()`` as a process of its own, on PostgreSQL and NATS, killed in the middle."""

import signal

from tests.integration.events.conftest import ZERO, Rig

COMMAND = "tests.integration.events.ledger.pika_style"


def test_a_consumer_of_its_own_loses_and_repeats_nothing(rig: Rig) -> None:
    """Killed after a commit and started again: each message has one effect, and one that fails comes again."""
    rig.write_many(20)
    rig.write(20, do="fail:1")
    first = rig.run(COMMAND, failpoints="consumer.before_acknowledge=kill:5")
    rig.until(lambda: first.poll() is not None, "killed at the fail-point")
    assert first.returncode == -signal.SIGKILL
    second = rig.run(COMMAND)
    rig.until(lambda: len(rig.effects("number_queue")) == 21, "all effects")
    rig.until(lambda: rig.ledger("number_queue") == ZERO, "the ledger is at zero")
    assert rig.count("bandstand_outbox WHERE type = 'number.seen' AND sent_at IS NOT NULL") == 21
    assert rig.stop(second) == 0
