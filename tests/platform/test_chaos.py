"""A short run of the ledger rig; `make chaos` does the long one."""

from pathlib import Path

import pytest

from tests.chaos.rig import Run, Verdict, run
from tests.integration.optional.servers import require_rabbitmq
from tests.platform.conftest import processes_of

pytestmark = pytest.mark.platform


def clean(verdict: Verdict) -> None:
    assert processes_of(verdict.folder) == []
    assert verdict.killed.total() > 0
    assert verdict.ledger.acked > 0


def test_a_shop_that_is_killed_keeps_its_word(tmp_path: Path) -> None:
    """With web processes, workers and servers killed at random nothing is lost, made up, done twice or left open."""
    verdict = run(Run(seed=3, seconds=40), under=tmp_path)
    clean(verdict)
    assert verdict.ledger.balanced, (str(verdict.ledger), verdict.open, verdict.ledger.faults[:20])
    assert not verdict.refusals, "no request was wrong, so none may be refused"


def test_a_shop_on_rabbitmq_keeps_its_word(tmp_path: Path) -> None:
    """The same with RabbitMQ as the broker, which is killed too."""
    require_rabbitmq()
    verdict = run(Run(seed=24, seconds=15, broker="rabbitmq"), under=tmp_path)
    clean(verdict)
    assert verdict.killed["rabbitmq"] > 0
    assert verdict.ledger.balanced, (str(verdict.ledger), verdict.open, verdict.ledger.faults[:20])
    assert not verdict.refusals, "no request was wrong, so none may be refused"


def test_the_rig_sees_a_missing_inbox(tmp_path: Path) -> None:
    """The tooth: with the inbox switched off the same rig counts duplicates."""
    verdict = run(Run(seed=3, seconds=15, tooth="inbox", drain=30), under=tmp_path)
    clean(verdict)
    assert verdict.ledger.duplicates > 0
    assert not verdict.ledger.balanced
