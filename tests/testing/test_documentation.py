"""The page tells the truth."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.testing import plugin
from bandstand.testing.policies import PolicyMatrix

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def examples() -> dict[str, Any]:
    """What the examples of the page define."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block, "testing.md", "exec"), names)
    return names


@pytest.fixture
def note(settings: Settings, db: None) -> SimpleNamespace:
    """The note of the examples, in a service that is as they say."""
    settings.ROOT_URLCONF = "tests.testing.notes"
    group = Group.objects.create(name="ada")
    return SimpleNamespace(pk=group.pk, user_id=group.name)


def as_user(name: str) -> APIClient:
    return APIClient(raise_request_exception=False, headers={"X-User": name})


def as_role(role: str, owner: str = "") -> APIClient:
    return {"owner": as_user(owner), "other": as_user("other"), "anonymous": APIClient()}[role]


def test_every_fixture_is_told() -> None:
    """The table names each fixture of the plugin, and none that is not there."""
    table = PAGE.partition("| Fixture | Gives |\n|---|---|\n")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines() for name in re.findall(r"`(\w+)[`(]", row.split(" | ")[0])}
    defined = re.findall(r"@pytest\.fixture\ndef (\w+)", Path(plugin.__file__).read_text())
    assert told == set(defined)


def test_the_table_of_the_page_holds(examples: dict[str, Any], note: SimpleNamespace) -> None:
    """The examples about who may do what pass on a service that is as they say."""
    policy: PolicyMatrix = examples["POLICY"]
    hold: Callable[..., None] = examples["test_the_table_holds"]
    for cell in policy.cells():
        hold(*cell.values, note, as_role)
    examples["test_the_table_is_the_whole"]()
    for other in policy.others():
        examples["test_other_methods_are_not_allowed"](*other.values, note, as_role)


def test_the_bad_input_of_the_page_is_withstood(examples: dict[str, Any], note: SimpleNamespace) -> None:
    """The example sends every kind of bad input, and the service withstands it."""
    examples["test_bad_input"](as_user)


def test_every_helper_is_told() -> None:
    """The page speaks of each public function of these files."""
    for name in ("policies", "bad_input", "races", "project"):
        module = __import__(f"bandstand.testing.{name}", fromlist=["__all__"])
        for public in set(module.__all__) - {"Endpoint", "api_endpoints"}:
            assert public in PAGE, public
