"""However a platform ends, nothing of it is left: no process, no open port."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil
import pytest

from tests.integration.runtime.shop import BANDSTAND, Platform, eventually
from tests.waiting import GUARD

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def assert_nothing_left(platform: Platform) -> None:
    # One condition: a process that is ending gives up its command line, by which it is known, before its sockets.
    eventually(lambda: not platform.left() and not platform.listening())


def read_until(stream: IO[str] | None, text: str) -> str:
    output = ""
    for line in stream or ():
        output += line
        if text in line:
            return output
    raise AssertionError(output)


def rest_of(process: subprocess.Popen[str]) -> str:
    """Wait until the process ends and return what it still prints; one that does not end is killed, and fails."""
    try:
        return process.communicate(timeout=GUARD)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def slow_request(platform: Platform, gate: Path) -> subprocess.Popen[str]:
    """Begin a request that is answered once the file ``gate`` is there; it is in flight when this returns."""
    url = f"{platform.state['gateway']}/api/users/?gate={quote(str(gate))}"
    program = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout={GUARD}).read().decode())"
    request = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    eventually(gate.with_suffix(".waiting").exists)
    return request


def watchdog_of(platform: Platform) -> psutil.Process:
    runner = psutil.Process(platform.state["pid"])
    return next(child for child in runner.children() if any("watchdog.py" in word for word in child.cmdline()))


def test_down_leaves_nothing_and_keeps_the_data(new_platform: Platform) -> None:
    """After `down` nothing is left; the next start has the same ports, and migrates and seeds nothing."""
    new_platform.up()
    ports = new_platform.state["ports"]
    assert new_platform.tasks() == {"done"}
    assert new_platform.json("down")["stopped"] is True
    assert_nothing_left(new_platform)
    assert new_platform.json("down")["stopped"] is False
    new_platform.up()
    assert new_platform.state["ports"] == ports
    assert new_platform.tasks() == {"skipped"}


def test_a_killed_runner_leaves_nothing(platform: Platform) -> None:
    """`kill -9` of the runner ends every process, and the next start works as if nothing had been."""
    platform.up()
    os.kill(platform.state["pid"], signal.SIGKILL)
    assert_nothing_left(platform)
    assert platform.up()["gateway"]


def test_only_the_watchdog_ends_what_obeys_no_signal(platform: Platform) -> None:
    """A process that can't act on the system's signal at its parent's death is ended by the watchdog all the same."""
    platform.up()
    web = psutil.Process(platform.pid("user-service-web"))
    for process in (web, *web.children()):
        process.suspend()
    os.kill(platform.state["pid"], signal.SIGKILL)
    assert_nothing_left(platform)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_killed_runner_and_watchdog_leave_nothing(platform: Platform) -> None:
    """Where both are killed at once, the system's signal at the parent's death ends everything."""
    platform.up()
    runner, watchdog = psutil.Process(platform.state["pid"]), watchdog_of(platform)
    runner.suspend()  # or it would start another watchdog
    watchdog.kill()
    runner.kill()
    assert_nothing_left(platform)


def test_sessions_that_outlive_a_killed_database_do_not_prevent_the_next_start(platform: Platform) -> None:
    """A session that hangs on the disk keeps the shared memory of its killed server; the next start ends it first."""
    platform.up()
    runner, postgres = psutil.Process(platform.state["pid"]), psutil.Process(platform.pid("postgres"))
    session = postgres.children()[-1]
    session.suspend()
    for process in (runner, watchdog_of(platform)):
        process.suspend()  # or the one would start anew what the other ends
    for process in (postgres, watchdog_of(platform), runner):
        process.kill()
    eventually(lambda: not platform.listening())
    assert session.is_running()
    assert platform.up()["gateway"]
    assert not session.is_running() or session.status() == psutil.STATUS_ZOMBIE


def test_a_stop_while_it_starts(platform: Platform) -> None:
    """Who waits for a platform that another stops meanwhile is told so, and nothing is left."""
    worker = platform.root / "user-service/users/management/commands/worker.py"
    worker.write_text(worker.read_text().replace("ready.touch()", "pass"))  # so that the start can't end before
    with subprocess.Popen(
        [BANDSTAND, "up", "--detach", "--json"], cwd=platform.root, stdout=subprocess.PIPE, text=True
    ) as waiting:
        eventually(lambda: platform.json("ps")["running"])
        assert platform.json("down")["stopped"] is True
        answer, _ = waiting.communicate(timeout=GUARD)
    assert json.loads(answer)["error"]["code"] == "interrupted"
    assert_nothing_left(platform)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_run_ends_in_good_order(platform: Platform, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop a foreground run with status 0, and a request in flight is answered first."""
    with platform.foreground() as process:
        assert "Gateway" in read_until(process.stdout, "Ctrl-C")
        with slow_request(platform, tmp_path / "gate") as request:
            process.send_signal(number)
            read_until(process.stdout, "Stopping")
            (tmp_path / "gate").touch()
            answer, _ = request.communicate(timeout=GUARD)
        assert '"service": "user-service"' in answer
        assert process.wait(GUARD) == 0
    assert_nothing_left(platform)


def test_a_second_interrupt_hurries(platform: Platform, tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for what is in flight, which gets no answer, and still leaves nothing."""
    with platform.foreground() as process:
        read_until(process.stdout, "Ctrl-C")
        with slow_request(platform, tmp_path / "gate") as request:
            process.send_signal(signal.SIGINT)
            read_until(process.stdout, "Stopping")
            process.send_signal(signal.SIGINT)
            process.wait(GUARD)
            answer, _ = request.communicate(timeout=GUARD)
    assert answer == ""
    assert_nothing_left(platform)


def test_a_closed_pipe_does_not_stop_the_platform(platform: Platform) -> None:
    """Who reads the foreground log may go away (`bandstand up | head`); the platform still ends in good order."""
    with platform.foreground() as process:
        read_until(process.stdout, "Ctrl-C")
        assert process.stdout is not None
        process.stdout.close()
        eventually(lambda: platform.pid("user-service-web"))
        process.send_signal(signal.SIGINT)
        process.wait(GUARD)
    assert_nothing_left(platform)


@pytest.mark.parametrize("moment", ["", "Starting tiny", "PostgreSQL: make the cluster", "Databases and roles"])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_during_the_start(new_platform: Platform, moment: str, times: int) -> None:
    """Whenever it comes, and however often, it ends with 130 and without a traceback, and nothing is left."""
    with new_platform.foreground() as process:
        if moment:
            before = read_until(process.stdout, moment)
        else:
            before = ""
            eventually(lambda: _imports_its_commands(process.pid))
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)  # two at once would be one
        output = rest_of(process)
    assert "Traceback" not in before + output
    assert "is ready in" not in output
    assert process.returncode == 130
    eventually(lambda: not new_platform.left())


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_during_a_start_in_the_background(new_platform: Platform, times: int) -> None:
    """The command waits until the runner in the background has ended everything, and says so with 130."""
    with subprocess.Popen(
        [BANDSTAND, "up", "--detach"],
        cwd=new_platform.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        read_until(process.stdout, "PostgreSQL: make the cluster")
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)  # two at once would be one
        output = rest_of(process)
    assert "Traceback" not in output
    assert "nothing of it runs any more" in output
    assert process.returncode == 130
    assert not new_platform.left()


def _imports_its_commands(pid: int) -> bool:
    """True once the program itself runs; what Python does before that no program can catch."""
    return "psutil" in Path(f"/proc/{pid}/maps").read_text()
