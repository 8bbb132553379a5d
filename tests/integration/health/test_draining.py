import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.integration.context.granian import Granian, running
from tests.waiting import until

pytestmark = pytest.mark.integration


def ready(server: Granian) -> int:
    return server.get("/health/ready/").status


def test_readiness_turns_before_the_listener_closes(tmp_path: Path) -> None:
    """After SIGTERM new connections are accepted and answered for the drain time, while readiness says 503."""
    with running(tmp_path, DRAIN="3600") as server:
        assert ready(server) == 200
        until(lambda: drain_is_in_front(server), "the drain to stand in front of granian's handler")
        server.terminate()
        until(lambda: ready(server) == 503, "readiness to turn")
        assert json.loads(server.get("/health/ready/").body) == {"status": "draining"}  # type: ignore[attr-defined]
        assert {server.get("/echo/").status for _ in range(20)} == {200}
        family = psutil.Process(server.process.pid)
        for process in (family, *family.children(recursive=True)):
            process.kill()  # they would drain for an hour


def test_requests_in_flight_are_answered(tmp_path: Path) -> None:
    """A request that was accepted before SIGTERM is finished, though the listener closes meanwhile."""
    release = tmp_path / "release"
    with running(tmp_path, DRAIN="0.5", RELEASE=str(release)) as server, ThreadPoolExecutor(1) as executor:
        until(lambda: drain_is_in_front(server), "the drain to stand in front of granian's handler")
        in_flight = executor.submit(server.get, "/wait/")
        until(release.with_suffix(".waiting").exists, "the request to be in flight")
        server.terminate()
        until(lambda: not server.accepts(), "the listener to close")
        assert not in_flight.done()
        release.touch()
        assert in_flight.result().body == b"released"  # type: ignore[attr-defined]
        until(lambda: server.process.poll() is not None, "granian to end")
        assert server.process.returncode == 0


def test_without_a_drain_time_granian_stops_at_once(tmp_path: Path) -> None:
    """The drain time is what keeps the listener open: without it connections are soon refused."""
    with running(tmp_path) as server:
        server.terminate()
        until(lambda: not server.accepts(), "the listener to close")


def drain_is_in_front(server: Granian) -> bool:
    """Granian sets its handler after the application is loaded; the drain finds it within a moment."""
    return server.get("/sigterm/").body == b"SigtermDrain._handle"  # type: ignore[attr-defined]
