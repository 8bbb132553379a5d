"""What ``make test-integration`` shows while its lanes run side by side."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

WAIT = "until [ -e go ]; do sleep 0.01; done"
MAKEFILE = f"""
first:
\t@echo "first runs"; {WAIT}; echo "first ends"
second:
\t@echo "tests/second ... [  7%]"; echo "tests/second ... [ 42%]"; {WAIT}; echo "a fault"; exit 3
"""


def lanes(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Run the lanes of a Makefile of its own, which wait for the file ``go``."""
    (folder / "Makefile").write_text(MAKEFILE)
    return subprocess.Popen(
        [sys.executable, ROOT / "tests" / "lanes.py", "make", *arguments],
        cwd=folder,
        env={**os.environ, "BANDSTAND_LANES_SECONDS": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_they_say_how_far_they_are(tmp_path: Path) -> None:
    """A line when each begins, lines with all that run meanwhile, and the output of each in one piece at its end."""
    with lanes(tmp_path, "2", "first", "second") as running:
        assert running.stdout is not None
        before = [running.stdout.readline().strip() for _ in range(2)]
        for line in running.stdout:
            if line.strip() == "== first begins, second 42%":
                (tmp_path / "go").touch()
                break
            assert line.startswith("== ")
        after = running.stdout.read()
    assert before == ["== first begins", "== second begins"]
    assert "first runs\nfirst ends\n== first passed after" in after
    assert "tests/second ... [  7%]\ntests/second ... [ 42%]\na fault\n" in after


def test_a_failure_of_one_lets_the_others_end(tmp_path: Path) -> None:
    """All run to their end, one after the other where only one may, and the whole has failed."""
    (tmp_path / "go").touch()
    with lanes(tmp_path, "1", "second", "first") as running:
        told = [line.partition(" after ")[0] for line in running.communicate()[0].splitlines() if " after " in line]
    assert running.returncode == 1
    assert told == ["== second FAILED with status 2", "== first passed"]


def test_all_passed(tmp_path: Path) -> None:
    """The status that the next step waits for."""
    (tmp_path / "go").touch()
    with lanes(tmp_path, "2", "first") as running:
        assert "first ends" in running.communicate()[0]
    assert running.returncode == 0


def test_the_makefile_uses_them() -> None:
    """Where make held the output itself, nothing was to be seen for minutes."""
    makefile = (ROOT / "Makefile").read_text()
    assert "-m tests.lanes" in makefile
    assert "output-sync" not in makefile
