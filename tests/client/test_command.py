import json

import pytest
from django.core.management import call_command
from pytest_django import Settings


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("policies", *arguments)
    return capsys.readouterr().out


def test_people_see_what_is_different(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Each policy is shown with all its values, and marks those that are not the usual ones."""
    client = {"TIMEOUT": 2, "TARGETS": {"user-service": {"RETRIES": 1}}}
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": client}
    usual, _, target = shown(capsys).partition("user-service:\n")
    assert [" ".join(line.split()) for line in usual.splitlines() if "of its own" in line] == ["timeout 2 (of its own)"]
    assert [" ".join(line.split()) for line in target.splitlines() if "of its own" in line] == [
        "retries 1 (of its own)"
    ]
    assert "timeout            2" in target


def test_machines_read_what_is_written(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json it is the setting itself, so that whoever reads it can tell it from the defaults."""
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": 2}}
    written = json.loads(shown(capsys, "--json"))
    assert written == {"format": 1, "service": "test-service", "client": {"TIMEOUT": 2}}
