"""The page of figures says what the scripts said."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROW = {
    "name": "up.warm",
    "unit": "s",
    "median": 15.0,
    "low": 14.0,
    "high": 16.5,
    "samples": 3,
    "processor_seconds": 0.0041,
    "ratio_to": "Django",
    "ratio": 1.5,
    "target": "at most 12",
    "verdict": "missed by 25.0 %",
    "note": "(three starts)",
}


def render(tmp_path: Path, **changes: Any) -> "subprocess.CompletedProcess[str]":
    report = {"script": "bench_up.py", "machine": "machine: 2 cores", "quick": False, "rows": [ROW]}
    file = tmp_path / "report.json"
    file.write_text(json.dumps({**report, "missed": ["up.warm"], "left_out": ["celery: not installed"], **changes}))
    command = [sys.executable, ROOT / "benchmarks" / "page.py", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_row(tmp_path: Path) -> None:
    """A row of the page has all that the script reported."""
    line = "| `up.warm` (three starts) | 15 s | 14 to 16.5 | 4.1 ms | 1.50 of Django | at most 12: missed by 25.0 % |"
    assert line in render(tmp_path).stdout.splitlines()


def test_missed_targets_come_first(tmp_path: Path) -> None:
    """A target that was missed is listed before any figure."""
    text = render(tmp_path).stdout
    assert 0 < text.index("- `up.warm`: at most 12, missed by 25.0 %") < text.index("## bench_up.py")


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    """A peer that did not run is named with the reason."""
    assert "Left out: celery: not installed." in render(tmp_path).stdout


def test_quick_figures_make_no_page(tmp_path: Path) -> None:
    """A report of --quick is refused, since its figures say nothing."""
    done = render(tmp_path, quick=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bench_up.py ran with --quick" in done.stderr


def test_missing_file(tmp_path: Path) -> None:
    """A report that is not there is an error that says how to make it."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "page.py", tmp_path / "none.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "none.json. Run `make bench` first." in done.stderr
