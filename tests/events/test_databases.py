"""What is looked at in the database of the events, without a server; the real ones are in the integration tests."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks
from django.db import OperationalError

from bandstand.events import worker
from bandstand.events.databases import shortcomings
from bandstand.exceptions import ConfigurationError

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "events.md").read_text()


def lacking(vendor: str, *, skips: bool = True) -> list[str]:
    features = SimpleNamespace(has_select_for_update_skip_locked=skips)
    found = shortcomings(SimpleNamespace(vendor=vendor, display_name="It", features=features))
    return [str(each.id).rpartition(".")[2] for each in found]


def test_each_database_is_told_what_it_lacks() -> None:
    """PostgreSQL lacks nothing, MySQL the notification and, when old, SKIP LOCKED; SQLite is for development."""
    assert lacking("postgresql") == []
    assert lacking("mysql") == ["I001"]
    assert lacking("mysql", skips=False) == ["I001", "I002"]
    assert lacking("sqlite", skips=False) == ["I001", "W002"]


def test_the_page_names_every_check() -> None:
    """The table has each identifier that the code has, and no other."""
    room = Path(worker.__file__).parent
    code = {
        found for file in room.glob("*.py") for found in re.findall(r"bandstand\.events\.[EWI]\d+", file.read_text())
    }
    assert code == set(re.findall(r"^\| `(bandstand\.events\.[EWI]\d+)`", PAGE, re.MULTILINE))


def test_a_worker_does_not_start_on_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says all that is wrong; a warning or a database that is down does not keep it."""
    found: list[Any] = [
        checks.Error("First.", hint="Do."),
        checks.Error("Second.", hint="That."),
        checks.Warning("Third."),
    ]
    monkeypatch.setattr(worker, "faults", lambda connection: found)
    with pytest.raises(ConfigurationError, match=r"First. Do.\nSecond. That.$"):
        worker.check_transactions("default")
    del found[:2]
    worker.check_transactions("default")

    def down(connection: Any) -> Any:
        raise OperationalError("down")

    monkeypatch.setattr(worker, "faults", down)
    worker.check_transactions("default")
