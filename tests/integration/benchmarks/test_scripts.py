"""Every benchmark works and judges each of its rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))
HANGS = 600  # seconds: only so that the test ends


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script: str, tmp_path: Path) -> None:
    """A script ends with status 0 and what it missed, and each of its rows has a median and a verdict."""
    file = tmp_path / "report.json"
    # The Django settings of the tests are none of its business.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, "--quick", "--json", file],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    judged = [row for row in report["rows"] if row["target"]]
    assert judged or report["left_out"], "nothing was judged, and no reason is given"
    for row in report["rows"]:
        assert isinstance(row["median"], float), row
        assert (row["verdict"] == "no target") == (row["target"] is None), row
    missed = [row["name"] for row in report["rows"] if row["verdict"].startswith("missed")]
    assert report["missed"] == missed
    last = done.stdout.splitlines()[-1]
    assert last.startswith("targets missed: ") if missed else last == "all targets met"
