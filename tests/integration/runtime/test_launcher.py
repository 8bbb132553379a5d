"""Processes of the system: seen when they end, ended whole, read to the last line. And the watchdog alone."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import psutil
import pytest

from bandstand.workspace.runtime import watchdog
from bandstand.workspace.runtime.launcher import Child
from bandstand.workspace.runtime.resources import Command
from tests.integration.runtime.shop import eventually
from tests.integration.runtime.supervised import system_launcher
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

# Starts a child of its own, says both ids, and waits.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(child.pid, flush=True)
time.sleep(3600)
"""


def python(program: str) -> Command:
    return Command(arguments=(sys.executable, "-c", program), folder=Path("/"), environment=dict(os.environ))


def launched(work: Callable[[Callable[..., Coroutine[None, None, Child]]], Coroutine[None, None, None]]) -> bytes:
    """Run ``work`` with a function that launches; return all that was written."""
    output = bytearray()

    async def run() -> None:
        with system_launcher() as launcher:
            await work(lambda command: launcher.launch(command, stop_signal=15, output=output.extend))

    asyncio.run(run())
    return bytes(output)


@pytest.mark.parametrize("pidfd", [True, False])
def test_many_ends_are_seen(monkeypatch: pytest.MonkeyPatch, pidfd: bool) -> None:
    """Each end is noticed with its status while many others run, with the help of the system and without."""
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)

    async def work(launch: Callable[..., Coroutine[None, None, Child]]) -> None:
        sleepers = [await launch(python("import time; time.sleep(3600)")) for _ in range(12)]
        waits = [asyncio.create_task(child.wait()) for child in sleepers]
        quick = await launch(python("import sys; sys.exit(3)"))
        assert await asyncio.wait_for(quick.wait(), GUARD) == 3
        for child in sleepers:
            child.send(signal.SIGTERM)
        assert await asyncio.wait_for(asyncio.gather(*waits), GUARD) == [-signal.SIGTERM] * 12

    launched(work)


def test_nothing_of_a_process_stays() -> None:
    """When a process dies, what it started dies with it, and not even a zombie is left."""
    children: list[int] = []

    async def work(launch: Callable[..., Coroutine[None, None, Child]]) -> None:
        child = await launch(python(FAMILY))
        family = psutil.Process(child.pid)
        await asyncio.to_thread(eventually, family.children)
        children.extend(process.pid for process in family.children())
        os.kill(child.pid, signal.SIGKILL)
        assert await asyncio.wait_for(child.wait(), GUARD) == -signal.SIGKILL
        assert not psutil.pid_exists(child.pid)

    launched(work)
    assert [pid for pid in children if psutil.pid_exists(pid)] == []


def test_what_has_left_the_group_is_collected_too() -> None:
    """What made a session of its own can't be ended with the group; when it ends, it is no zombie of ours."""
    program = FAMILY.replace('"])', '"], start_new_session=True)')

    async def work(launch: Callable[..., Coroutine[None, None, Child]]) -> None:
        child = await launch(python(program))
        family = psutil.Process(child.pid)
        await asyncio.to_thread(eventually, family.children)
        (stray,) = family.children()
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.wait_for(child.wait(), GUARD)
        assert stray.is_running()
        stray.kill()
        await asyncio.to_thread(eventually, lambda: not psutil.pid_exists(stray.pid))

    launched(work)


def test_the_last_words_are_heard() -> None:
    """What a process wrote right before its end is there when its end is told."""

    async def work(launch: Callable[..., Coroutine[None, None, Child]]) -> None:
        child = await launch(python("print('x' * 200_000); print('last words')"))
        await child.wait()

    assert launched(work).endswith(b"x\nlast words\n")


def test_the_watchdog_ends_what_is_registered() -> None:
    """At the end of its input each group gets its signal, and nobody else; who obeys is waited for, and not killed."""
    polite = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    other = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    watchdog.end({polite.pid: 15}, grace=GUARD)
    assert polite.wait(GUARD) == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    other.wait()


def test_the_watchdog_kills_who_ignores_its_signal() -> None:
    """After the grace, and not before it has said what it wants."""
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        watchdog.end({stubborn.pid: 15}, grace=0.1)
        assert stubborn.wait(GUARD) == -signal.SIGKILL


def test_the_watchdog_takes_no_zombie_for_alive() -> None:
    """A process whose parent does not collect it is dead all the same, so nobody waits for it."""
    child = subprocess.Popen(["true"], start_new_session=True)
    eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert watchdog.living([child.pid]) == set()
    child.wait()
