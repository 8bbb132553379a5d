"""The tutorial's platform, made and used as its page says."""

import os
import re
import subprocess
from pathlib import Path

from tests.platform.conftest import ROOT, processes_of
from tests.ports import guarded_port
from tests.programs import INSTALL_CURL, require_program

PAGE = ROOT / "docs" / "tutorial" / "first-platform.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+)\n")


def work_through(folder: Path, *, programs: Path) -> None:
    """Do in ``folder`` what the page says, with the programs of one environment, and leave nothing running."""
    require_program("curl", how=INSTALL_CURL)
    # Another port, so that the test runs beside whatever listens on the page's.
    page = PAGE.read_text().replace("8100", str(guarded_port()))
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    printed = ""
    try:
        for language, content in BLOCK.findall(page):
            if language == "sh":
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", content],
                    cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
                )  # fmt: skip
                printed = done.stdout
                assert done.returncode == 0, f"{content}\n{done.stdout}\n{done.stderr}"
            elif named := FILE.match(content):
                path = folder / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content[named.end() :])
            else:
                assert content.strip() in printed
    finally:
        subprocess.run([programs / "bandstand", "down"], cwd=folder, capture_output=True, timeout=600, check=False)
    assert processes_of(folder) == []
