"""Facts about the machine that are found before a start."""

import os
from pathlib import Path

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.runtime import facts
from bandstand.workspace.runtime.launcher import has_name
from tests.runtime.plans import facts as some_facts
from tests.runtime.plans import workspace


def test_a_user_without_a_name_is_told_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account and without a namespace PostgreSQL can't run, and the error says what to do."""
    monkeypatch.setattr(facts, "choose_account", lambda: "self")
    monkeypatch.setattr(facts, "has_name", lambda _: False)
    known = some_facts(tmp_path)
    known.folder.prepare()
    monkeypatch.setattr(facts, "find_binaries", lambda *_: known.binaries)
    with pytest.raises(WorkspaceError, match=f"can't run as the user id {os.geteuid()}") as caught:
        facts.survey(workspace(tmp_path), known.ports)
    assert "run as a user that has one" in caught.value.hint


def test_names_of_users() -> None:
    """Root has one everywhere, a number that nobody gave to anybody has none."""
    assert has_name(0)
    assert not has_name(123_456_789)
