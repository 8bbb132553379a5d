"""What the page on changing events shows, on a copy of the shop whose services are asked as processes."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bandstand.cli.app import app

ROOT = Path(__file__).parents[3]
HOW_TO = (ROOT / "docs/how-to/change-an-event.md").read_text()

pytestmark = pytest.mark.integration

BLOCK = re.compile(
    r"(?:In|in) `(?P<file>[^`]+\.py)`:\n\n```python\n(?P<code>.*?)```|```console\n(?P<console>.*?)```", re.DOTALL
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".bandstand", "__pycache__", "tests", ".pytest_cache")
    copy = shutil.copytree(ROOT / "shop", tmp_path / "shop", ignore=ignored)
    commit(copy)
    return copy


def commit(shop: Path) -> None:
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "So far")):
        subprocess.run(["git", "-C", str(shop), *arguments], check=True, capture_output=True)


def replace_definitions(path: Path, code: str) -> None:
    """Put the classes and functions of ``code`` in the place of those of the same name, new ones before all others."""
    lines = path.read_text().splitlines()
    for node in reversed(definitions(code)):
        known = {each.name: each for each in definitions("\n".join(lines))}
        place = known.get(node.name)
        start = begin(place or next(iter(known.values()))) - 1
        end = place.end_lineno if place else start
        new = code.splitlines()[begin(node) - 1 : node.end_lineno]
        lines[start:end] = new if place else [*new, "", ""]
    path.write_text("\n".join(lines) + "\n")


def definitions(code: str) -> list[Any]:
    return [node for node in ast.parse(code).body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]


def begin(node: Any) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def run(shop: Path, command: str) -> str:
    words = command.split()
    assert words[0] == "bandstand"
    result = CliRunner().invoke(app, ["--workspace", str(shop), *words[1:]])
    assert result.exit_code == (1 if re.search(r"^[1-9]\d* error", result.output, re.MULTILINE) else 0), result.output
    return result.output


def test_an_event_can_be_changed_as_the_page_says(shop: Path) -> None:
    """Each edit is made, each command is run, and prints what the page shows."""
    original = {path: path.read_text() for path in shop.glob("*/*/events.py")}
    commands = 0
    for block in BLOCK.finditer(HOW_TO):
        if block["console"] is None:
            replace_definitions(shop / block["file"], block["code"])
            continue
        shown = re.split(r"^\$ (.*)\n", block["console"], flags=re.MULTILINE)[1:]
        for command, output in zip(shown[::2], shown[1::2], strict=True):
            assert run(shop, command) == output
            commands += 1
        following = HOW_TO[block.end() :].partition("```")[0]
        if "\n## " in following or "\n### 1." in following:  # back to where the page began
            for path, text in original.items():
                path.write_text(text)
            run(shop, "bandstand contracts write")
        elif "\n### " in following:
            subprocess.run(["git", "-C", str(shop), "add", "."], check=True)
            commit(shop)
    assert commands == 8


def test_the_command_fails_for_machines_too(shop: Path) -> None:
    """One object with every finding, and exit status 1."""
    (shop / "contracts" / "user.created.v1.json").unlink()
    result = CliRunner().invoke(app, ["--workspace", str(shop), "contracts", "check", "--json"])
    assert result.exit_code == 1
    assert '"code":"stale_file"' in result.stdout
    assert result.stdout.startswith('{"ok":false,"against":"HEAD"')
