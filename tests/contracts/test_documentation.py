"""Does what the pages say, on a copy of the shop."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from bandstand.cli.app import app
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.subscriptions import REGISTRY
from bandstand.workspace.contracts.findings import Code

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs/how-to/change-an-event.md").read_text()
REFERENCE = (ROOT / "docs/reference/contracts.md").read_text()

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


def test_the_reference_is_complete_and_runs() -> None:
    """Every code of a finding is explained, and the example works as printed."""
    assert set(re.findall(r"^\| `(\w+)` \| (?:error|warning) \|", REFERENCE, re.MULTILINE)) == set(get_args(Code))
    (example,) = re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page.events"}
    try:
        exec(compile(example, "contracts.md", "exec"), names)
        assert names["MailQueued"] in PUBLICATIONS
    finally:
        REGISTRY.remove("page.send")
        PUBLICATIONS._declared.discard(names["MailQueued"])


def test_the_command_fails_for_machines_too(shop: Path) -> None:
    """One object with every finding, and exit status 1."""
    (shop / "contracts" / "user.created.v1.json").unlink()
    result = CliRunner().invoke(app, ["--workspace", str(shop), "contracts", "check", "--json"])
    assert result.exit_code == 1
    assert '"code":"stale_file"' in result.stdout
    assert result.stdout.startswith('{"ok":false,"against":"HEAD"')


def test_help_shows_lines_to_type() -> None:
    """Each command has examples."""
    for command in ("write", "check"):
        assert "Examples:" in CliRunner().invoke(app, ["contracts", command, "--help"]).output
