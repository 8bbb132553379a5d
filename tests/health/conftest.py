from collections.abc import Iterator

import pytest

from bandstand.health import drain, registry, reports
from bandstand.health.registry import Check


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Check]]:
    """Each test begins without checks, without answers, and not draining."""
    known: dict[str, Check] = {}
    monkeypatch.setattr(registry, "_checks", known)
    monkeypatch.setattr(reports, "_probes", {})
    yield known
    drain._draining.clear()
