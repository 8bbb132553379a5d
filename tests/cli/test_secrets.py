"""`bandstand secrets`: what it writes, and what it says to do when secrets of a rendered platform change."""

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from bandstand.cli.app import app


def secrets(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["-C", str(workspace), "secrets", *arguments])


def test_they_are_written_once_and_not_shown(workspace: Path) -> None:
    """Beside the manifest; a second time there is nothing to do."""
    folder = workspace / "deploy" / "compose" / "secrets"
    first = secrets(workspace)
    assert first.exit_code == 0, first.output
    assert (folder / "user-service" / "DATABASE_URL").read_text() not in first.output
    assert "has every secret" in secrets(workspace).stdout
    assert json.loads(secrets(workspace, "--json").stdout) == {"folder": str(folder), "written": []}


def test_a_change_goes_through_three_steps(workspace: Path) -> None:
    """Each writes files and numbers what is to be done then, with the command of the next step at the end."""
    secrets(workspace)
    accept = secrets(workspace, "rotate", "--step", "accept")
    assert accept.exit_code == 0, accept.output
    assert "1. Run the jobs by which the servers accept the new passwords too:" in accept.stdout
    assert "bandstand secrets rotate --step use" in accept.stdout
    use = json.loads(secrets(workspace, "rotate", "--step", "use", "--json").stdout)
    assert str(workspace / "deploy/compose/secrets/user-service/DATABASE_URL") in use["written"]
    assert set(use["instructions"][0]) == {"text", "command"}
    retire = secrets(workspace, "rotate", "--step", "retire", "--target", "kubernetes")
    assert "kubectl" in retire.stdout
    again = secrets(workspace, "rotate", "--step", "retire")
    assert again.exit_code == 1
    assert "has not begun" in again.stderr


def test_what_does_not_run_has_no_passwords_to_change(workspace: Path) -> None:
    """Without a step it is about the platform that runs."""
    ended = secrets(workspace, "rotate")
    assert ended.exit_code != 0
    assert "bandstand up" in ended.stderr
