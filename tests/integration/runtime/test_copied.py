"""A copy of a platform's folder leaves the original alone."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.runtime.shop import Platform

pytestmark = pytest.mark.integration


@pytest.fixture
def copy(running: Platform, tmp_path: Path) -> Iterator[Platform]:
    """A copy that was made while the original runs, with its state, its lock and its databases' lock files."""
    target = tmp_path / "copied" / running.root.name
    target.parent.mkdir()
    # What PostgreSQL writes meanwhile may be gone before it is read; the copy's databases are not what is tested.
    subprocess.run(["cp", "-a", str(running.root), str(target)], capture_output=True, check=False)
    shutil.rmtree(target / ".bandstand" / "postgres" / "data")
    copy = Platform(target)
    try:
        yield copy
    finally:
        if copy.left():
            copy.run("down")


def running_processes(platform: Platform) -> dict[str, tuple[int, bool]]:
    return {row["name"]: (row["pid"], psutil.pid_exists(row["pid"])) for row in platform.json("ps")["processes"]}


@pytest.mark.parametrize(
    "command", [("down",), ("restart",), ("reload",), ("logs",), ("ps",), ("exec", "order-service", "true")]
)
def test_a_command_in_a_copy(running: Platform, copy: Platform, command: tuple[str, ...]) -> None:
    """It finds that nothing runs here, and no process of the original ends or is started anew."""
    before = running_processes(running)
    ended = copy.run(*command)
    assert "Traceback" not in ended.stderr
    assert running_processes(running) == before
    if command[0] in {"down", "ps", "exec"}:
        assert f"was written in {running.root}" in ended.stderr


def test_a_start_and_migrations_in_a_copy(running: Platform, copy: Platform) -> None:
    """They run beside the original on ports of their own, and end alone."""
    before = running_processes(running)
    migrated = copy.run("migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    assert f"was written in {running.root}" in migrated.stdout
    assert running_processes(running) == before
    started: Any = copy.up()
    assert started["gateway"] != running.state["gateway"]
    assert running_processes(running) == before
    assert json.loads(copy.run("down", "--json").stdout)["stopped"] is True
    assert running_processes(running) == before
