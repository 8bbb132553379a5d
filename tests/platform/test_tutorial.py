"""The tutorial, typed as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bandstand.testing import require_server
from tests.platform.conftest import ROOT, processes_of, run
from tests.ports import guarded_port

pytestmark = pytest.mark.platform

PAGE = ROOT / "docs" / "tutorial" / "first-platform.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+)\n")


def test_the_tutorial_works_as_printed(tmp_path: Path) -> None:
    """Each file of the page is written, each command run, and each answer that it shows is in what was printed."""
    require_server("curl", found=shutil.which("curl") is not None, how="On Debian: apt-get install curl")
    # Another port, so that the test runs beside whatever listens on the page's.
    page = PAGE.read_text().replace("8100", str(guarded_port()))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    printed = ""
    try:
        for language, content in BLOCK.findall(page):
            if language == "sh":
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", content],
                    cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
                )  # fmt: skip
                printed = done.stdout
                assert done.returncode == 0, f"{content}\n{done.stdout}\n{done.stderr}"
            elif named := FILE.match(content):
                path = tmp_path / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content[named.end() :])
            else:
                assert content.strip() in printed
    finally:
        run(tmp_path, "down")
    assert processes_of(tmp_path) == []
