from collections.abc import Iterator

import pytest

from bandstand.health import drain, registry, reports, warming
from bandstand.health.registry import Check
from bandstand.health.warming import WarmUp


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Check]]:
    """Each test begins without checks, without answers, cold with nothing to warm up, and not draining."""
    known: dict[str, Check] = {}
    monkeypatch.setattr(registry, "_checks", known)
    monkeypatch.setattr(reports, "_probes", {})
    monkeypatch.setattr(warming, "_warm_up", WarmUp())
    monkeypatch.setattr(drain, "_others", [])
    yield known
    drain._draining.clear()
