"""A process that hangs is started anew; one that only lacks something is not."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from bandstand.workspace.runtime.launcher import SystemLauncher, Watchdog, adopt_orphans
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.probes import AnswerProbe, HttpProbe
from bandstand.workspace.runtime.resources import Command, Plan, Process, Stage
from bandstand.workspace.runtime.supervision import RestartPolicy, Status, Supervision
from bandstand.workspace.runtime.supervisor import Supervisor
from tests.ports import held_port

pytestmark = pytest.mark.integration

# Ready until the file "away" appears. A stopped process still has its port open, and the system accepts for it.
SERVER = """
import http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        away = pathlib.Path("away").exists()
        self.send_response(503 if away else 200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Watching:
    """Remembers why the process was started anew."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def changed(self, status: Status) -> None:
        if status.phase is Phase.BACKOFF:
            self.reasons.append(status.reason)

    def ready(self) -> None:
        pass


def test_a_process_that_hangs_is_started_anew(tmp_path: Path) -> None:
    """Its database away, it stays as it is; stopped in its tracks with its port open, it is replaced and serves."""
    port = held_port()
    web = Process(
        name="web",
        label="web",
        stage=Stage.WEB,
        command=Command(arguments=(sys.executable, "-c", SERVER, str(port)), folder=tmp_path),
        log=tmp_path / "web.log",
        probe=HttpProbe(port=port, path="/health/ready/", again=0.1, timeout=0.3),
        liveness=AnswerProbe(port=port, path="/health/live/", timeout=0.3),
    )
    plan = Plan(resources=(web,))
    rules = Supervision(plan, policy=RestartPolicy(base=0.05, silence=1.0))
    status, watching, logs = rules.statuses["web"], Watching(), Logs()

    async def until(phase: Phase, *, restarts: int) -> None:
        while (status.phase, status.restarts) != (phase, restarts):  # noqa: ASYNC110 - a test looks, as people do
            await asyncio.sleep(0.02)

    async def run() -> None:
        others = {child.pid for child in psutil.Process().children()}  # those of other tests
        watchdog = Watchdog()
        adopt_orphans(lambda: watchdog.pids | others)
        watchdog.start()
        supervisor = Supervisor(plan, rules, launcher=SystemLauncher(watchdog), logs=logs)
        supervisor.observers = (watching,)
        running = asyncio.create_task(supervisor.run())
        try:
            async with asyncio.timeout(20):
                await until(Phase.READY, restarts=0)
                (tmp_path / "away").touch()
                await until(Phase.UNREADY, restarts=0)
                await asyncio.sleep(2.0)  # twice the time after which silence would end it
                assert (status.phase, status.restarts) == (Phase.UNREADY, 0)
                (tmp_path / "away").unlink()
                await until(Phase.READY, restarts=0)
                pid = supervisor.pid_of("web")
                assert pid is not None
                os.kill(pid, signal.SIGSTOP)
                await until(Phase.READY, restarts=1)
                assert supervisor.pid_of("web") != pid
        finally:
            supervisor.stop()
            await running
            watchdog.close()

    asyncio.run(run())
    logs.close()
    assert len(watching.reasons) == 1
    assert "no sign of life" in watching.reasons[0]
