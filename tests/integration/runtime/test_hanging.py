"""A process that hangs is started anew; one that only lacks something is not."""

import os
import signal
import sys
from pathlib import Path

import pytest

from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.probes import AnswerProbe, HttpProbe
from bandstand.workspace.runtime.resources import Command, Plan, Process, Stage
from bandstand.workspace.runtime.supervision import RestartPolicy, Status
from bandstand.workspace.runtime.supervisor import Supervisor
from tests.integration.runtime.supervised import Supervised
from tests.ports import held_port
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

# Ready until the file "away" appears. A stopped process still has its port open, and the system accepts for it.
SERVER = """
import http.server, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as file:
            print(self.path, file=file)
        away = pathlib.Path("away").exists()
        self.send_response(503 if away else 200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
LIVE = "/health/live/"
SILENCE = 1000.0  # seconds of a clock that stands still


class Watching:
    """Remembers why the process was started anew."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def changed(self, status: Status) -> None:
        if status.phase is Phase.BACKOFF:
            self.reasons.append(status.reason)

    def ready(self) -> None:
        pass


class Web(Supervised):
    """One real process, which obeys no SIGTERM."""

    def __init__(self, folder: Path) -> None:
        port = held_port()
        self.folder, self.watching = folder, Watching()
        web = Process(
            name="web",
            label="web",
            stage=Stage.WEB,
            command=Command(arguments=(sys.executable, "-c", SERVER, str(port)), folder=folder),
            log=folder / "web.log",
            probe=HttpProbe(port=port, path="/health/ready/", again=0.1, timeout=1.0),
            liveness=AnswerProbe(port=port, path=LIVE, timeout=1.0),
            grace=2 * GUARD,
        )
        policy = RestartPolicy(base=0.05, silence=SILENCE)
        super().__init__("web", Plan(resources=(web,)), policy=policy, observers=(self.watching,), hurried=True)

    async def is_asked_whether_it_lives(self, times: int) -> None:
        """Wait until it was asked, and answered, so many times more."""
        asked = self.folder / "asked"
        wanted = asked.read_text().count(LIVE) + times
        await self.until(lambda: asked.read_text().count(LIVE) >= wanted)


def test_a_process_that_hangs_is_started_anew(tmp_path: Path) -> None:
    """Its database away, it stays as it is; stopped in its tracks with its port open, it is replaced and serves."""
    web = Web(tmp_path)

    async def work(supervisor: Supervisor) -> None:
        await web.reaches(Phase.READY)
        (tmp_path / "away").touch()
        await web.reaches(Phase.UNREADY)
        for _ in range(2):
            web.clock.now += SILENCE
            await web.is_asked_whether_it_lives(2)
        assert (web.status.phase, web.status.restarts) == (Phase.UNREADY, 0)
        (tmp_path / "away").unlink()
        await web.reaches(Phase.READY)
        pid = supervisor.pid_of("web")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await web.until(lambda: web.status.silences >= web.rules.policy.questions)
        assert not web.status.killed_because, "its silence has not lasted yet"
        web.clock.now += SILENCE
        await web.reaches(Phase.READY, restarts=1)
        assert supervisor.pid_of("web") != pid

    web.run(work)
    assert len(web.watching.reasons) == 1
    assert "no sign of life" in web.watching.reasons[0]


def test_who_is_asked_twice_to_stop_waits_for_nobody(tmp_path: Path) -> None:
    """A process that has more time to end than the test, and does not end by itself, is ended at once."""
    web = Web(tmp_path)

    async def work(supervisor: Supervisor) -> None:
        await web.reaches(Phase.READY)
        supervisor.stop()
        await web.reaches(Phase.STOPPING)
        supervisor.stop()
        await web.until(lambda: web.rules.ended)

    web.run(work)
