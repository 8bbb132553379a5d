"""The command line without a platform: what it offers, how it finds a workspace, and how it fails."""

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bandstand import __version__
from bandstand.cli.app import app
from tests.limits import full_disk

COMMANDS = ("up", "down", "ps", "logs", "migrate", "reload", "restart", "export", "exec")

MANIFEST = """
[platform]
name = "tiny"

[services.user-service]
calls = []
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    service = tmp_path / "user-service"
    (service / "user_service").mkdir(parents=True)
    (service / "manage.py").touch()
    (service / "user_service" / "wsgi.py").touch()
    (tmp_path / "bandstand.toml").write_text(MANIFEST)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_shows_every_command_and_examples() -> None:
    """Who asks for help sees what there is, and lines that can be typed."""
    shown = run("--help").stdout
    for command in COMMANDS:
        assert f"│ {command} " in shown or f" {command} " in shown
    assert "bandstand up -d --json" in shown
    assert "bandstand exec user-service bash" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    """Every command has a help page of its own."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--workspace" in result.stdout
    assert f"bandstand {command}" in result.stdout.partition("Examples:")[2]


def test_the_version_is_told() -> None:
    """`--version` prints it and ends."""
    assert run("--version").stdout == f"bandstand {__version__}\n"


@pytest.mark.parametrize("command", ["up", "down", "ps", "migrate", "reload", "restart"])
def test_outside_of_a_workspace(tmp_path: Path, command: str) -> None:
    """Each command says that there is no manifest, on standard error, with status 1; with --json as an object too."""
    arguments = [command, "-C", tmp_path, *(["--detach"] if command == "up" else [])]
    plain = run(*arguments)
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert "There is no bandstand.toml" in plain.stderr
    machine = run(*arguments, "--json")
    assert machine.exit_code == 1
    assert json.loads(machine.stdout)["error"]["code"] == "workspace_error"
    assert machine.stdout.count("\n") == 1


def test_the_workspace_is_found_from_below(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any folder below the manifest is good enough to stand in."""
    monkeypatch.chdir(workspace / "user-service" / "user_service")
    assert "tiny is not running" in run("ps").stdout


def test_the_workspace_may_be_named_before_or_after_the_command(workspace: Path) -> None:
    """Both places mean the same; the one after the command wins."""
    assert "tiny is not running" in run("-C", workspace, "ps").stdout
    assert "tiny is not running" in run("ps", "-C", workspace).stdout
    assert "tiny is not running" in run("-C", "/nowhere", "ps", "--workspace", workspace).stdout


def test_every_fault_of_a_manifest_is_told(workspace: Path) -> None:
    """A wrong manifest is reported with file, line and what to write, and nothing is started."""
    manifest = workspace / "bandstand.toml"
    manifest.write_text(MANIFEST.replace("calls = []", 'calls = ["user-servic"]\nworkr = true'))
    result = run("up", "-C", workspace)
    assert result.exit_code == 1
    assert "bandstand.toml:6:" in result.stderr
    assert "bandstand.toml:7:" in result.stderr
    assert not (workspace / ".bandstand").exists()


def test_json_in_the_foreground_makes_no_sense(workspace: Path) -> None:
    """`up --json` without --detach is refused as a wrong use of the command, and says what is right."""
    result = run("up", "--json", "-C", workspace)
    assert result.exit_code == 2
    assert "--detach" in result.stderr


def test_an_unknown_service_is_named_with_what_there_is(workspace: Path) -> None:
    """A typing mistake is answered with the nearest name."""
    result = run("exec", "-C", workspace, "user-servce", "true")
    assert result.exit_code == 1
    assert "Did you mean user-service?" in result.stderr


def test_an_unknown_log_is_named_with_what_there_is(workspace: Path) -> None:
    """Services, processes and servers are listed."""
    result = run("logs", "-C", workspace, "nothing")
    assert result.exit_code == 1
    for name in ("user-service-worker", "postgres", "gateway", "runner"):
        assert name in result.stderr


def test_logs_of_a_stopped_platform_are_shown(workspace: Path) -> None:
    """Logs outlive the run: the last lines of all services, for people, or raw."""
    folder = workspace / ".bandstand" / "logs"
    folder.mkdir(parents=True)
    record = {"ts": "2026-01-02T03:04:05.678Z", "level": "WARNING", "message": "low \x1b[2J stock"}
    (folder / "user-service-web.log").write_text(json.dumps(record) + "\n")
    (folder / "postgres.log").write_text("not a service\n")
    shown = run("logs", "-C", workspace).stdout
    assert "03:04:05.678 user-service-web" in shown
    assert r"WARN low \x1b[2J stock" in shown
    assert "not a service" not in shown
    assert json.loads(run("logs", "-C", workspace, "--raw").stdout) == record
    assert run("logs", "-C", workspace, "postgres").stdout.strip().endswith("not a service")


def test_ps_of_a_stopped_platform_shows_no_old_processes(workspace: Path) -> None:
    """What a killed run wrote is not taken for true."""
    folder = workspace / ".bandstand"
    folder.mkdir()
    row = {"name": "web", "label": "web", "kind": "process", "state": "ready", "pid": os.getpid(), "started": 1.0}
    (folder / "state.json").write_text(json.dumps({"pid": os.getpid(), "ready": True, "processes": [row]}))
    assert json.loads(run("ps", "-C", workspace, "--json").stdout)["processes"] == []


def test_a_state_folder_that_cant_be_used_is_said(workspace: Path) -> None:
    """A file in the place of .bandstand/ ends in one message that names it, and no traceback."""
    (workspace / ".bandstand").touch()
    result = run("up", "-d", "--json", "-C", workspace)
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "file_error"
    assert f"{workspace}/.bandstand" in error["message"]
    assert "Traceback" not in result.output


def test_a_full_disk_is_said(workspace: Path) -> None:
    """A start that can't write its files names the first one, says why, and what to do."""
    with full_disk():
        result = run("migrate", "-C", workspace)
    assert result.exit_code == 1
    assert f"{workspace}/.bandstand/" in result.output
    assert "make room" in result.output
    assert "Traceback" not in result.output
