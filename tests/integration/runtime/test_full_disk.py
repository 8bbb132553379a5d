"""A platform whose disk is full goes on, says so once, and is as before when there is room again."""

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.integration.runtime.shop import BANDSTAND, Platform, eventually
from tests.namespaces import OWN_MOUNTS, require_mounts
from tests.waiting import GUARD

pytestmark = [pytest.mark.integration, pytest.mark.fault]

MOUNT = 'mount -t tmpfs -o size=256k none .bandstand/logs && touch .bandstand/logs/runner.log && exec "$0" up --detach'


@pytest.fixture
def small_disk(platform: Platform) -> Path:
    """A platform in the background with a log folder of 256 kB; return that folder as the platform sees it."""
    require_mounts()
    started = subprocess.run(
        [*OWN_MOUNTS, "sh", "-c", MOUNT, str(BANDSTAND)],
        cwd=platform.root,
        capture_output=True,
        text=True,
        timeout=2 * GUARD,
        check=False,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    return Path(f"/proc/{platform.state['pid']}/root") / platform.root.relative_to("/") / ".bandstand" / "logs"


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return filler


def ask(platform: Platform) -> None:
    with urllib.request.urlopen(platform.state["gateway"] + "/api/users/", timeout=GUARD) as answer:
        assert answer.status == 200


def test_a_full_log_disk_stops_nothing(platform: Platform, small_disk: Path) -> None:
    """Requests are served, what dies is started anew, lines are dropped and counted, and later written again."""
    runner = psutil.Process(platform.state["pid"])
    filler = fill(small_disk)
    for _ in range(50):
        ask(platform)
    killed = platform.pid("user-service-web")
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: platform.pid("user-service-web") not in {None, killed})
    eventually(lambda: platform.process("user-service-web")["state"] == "ready")
    ask(platform)
    assert runner.is_running()
    filler.unlink()
    log = small_disk / "user-service-web.log"
    eventually(lambda: ask(platform) or "could not be written" in log.read_text())
    assert platform.json("down")["stopped"] is True
