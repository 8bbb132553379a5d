"""Starts processes of the operating system so that each can be ended whole, and none outlives the runner."""

import asyncio
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psutil

from bandstand.workspace.runtime.resources import Account, Command
from bandstand.workspace.runtime.shim import NOBODY

__all__ = ["Child", "Launcher", "SystemLauncher", "Watchdog", "adopt_orphans", "choose_account", "has_name"]

_HERE: Final = Path(__file__).parent
_PR_SET_CHILD_SUBREAPER: Final = 36
# Python without site-packages, environment or compiled files: 10 ms.
_BARE_PYTHON: Final = (sys.executable, "-I", "-S", "-B")


class Child(Protocol):
    """A process that was started, with everything that it started itself."""

    pid: int

    async def wait(self) -> int:
        """Return the exit status (negative: a signal) when the process and its whole group are gone."""

    def send(self, number: int) -> None:
        """Send a signal to the process."""

    def kill(self) -> None:
        """End the process group at once."""


class Launcher(Protocol):
    """Starts children; the tests have one of their own."""

    async def launch(self, command: Command, *, stop_signal: int, output: Callable[[bytes], None]) -> Child:
        """Start ``command``; what it writes goes to ``output`` in pieces.

        Raises:
            OSError: it can't be started.
        """


class Watchdog:
    """The process that ends the platform's process groups when the runner is gone; see watchdog.py."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*_BARE_PYTHON, str(_HERE / "watchdog.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self._write("".join(f"add {group} {number}\n" for group, number in self._groups.items()))

    @property
    def pids(self) -> set[int]:
        """The watchdog itself, and the first process of each group that it knows."""
        return {*self._groups, *([self._process.pid] if self._process else [])}

    def add(self, group: int, stop_signal: int) -> None:
        self._groups[group] = stop_signal
        self._tell(f"add {group} {stop_signal}\n")

    def remove(self, group: int) -> None:
        self._groups.pop(group, None)
        self._tell(f"remove {group}\n")

    async def keep(self) -> None:
        """Replace it as soon as somebody ends it."""
        while self._process is not None:
            ended = self._process
            await _exit_status(ended)
            if self._process is ended:
                self.start()

    def close(self) -> None:
        """Let it go; it ends what is still registered."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody ended it: the next one learns of all groups
            self._write(line)

    def _write(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()


class SystemLauncher:
    """Starts each process in a session of its own, known to the watchdog, and reads what it writes."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    async def launch(self, command: Command, *, stop_signal: int, output: Callable[[bytes], None]) -> Child:
        popen = subprocess.Popen(  # noqa: ASYNC220 - it returns as soon as the child runs
            _with_shim(command, stop_signal),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=command.folder,
            env=dict(command.environment),
        )
        self._watchdog.add(popen.pid, stop_signal)
        reader = _Reader(output)
        await asyncio.get_running_loop().connect_read_pipe(lambda: reader, popen.stdout)
        return _SystemChild(popen, reader, self._watchdog)


class _SystemChild:
    def __init__(self, popen: subprocess.Popen[bytes], reader: "_Reader", watchdog: Watchdog) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._reader = reader
        self._watchdog = watchdog

    async def wait(self) -> int:
        status = await _exit_status(self._popen)
        self.kill()  # what it leaves behind would hold its port
        await _reap(self.pid)
        self._watchdog.remove(self.pid)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._reader.closed.wait()
        return status

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class _Reader(asyncio.Protocol):
    """Passes on what comes through a pipe."""

    def __init__(self, output: Callable[[bytes], None]) -> None:
        self._output = output
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._output(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed.set()


async def _exit_status(popen: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process without polling: by its pidfd where there is one, else on a thread."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    if not hasattr(os, "pidfd_open"):
        # A thread for each, since a pool would keep some ends from being noticed while it is full.
        threading.Thread(target=_wait, args=(popen, loop, ended), daemon=True).start()
        await ended.wait()
        return popen.wait()
    descriptor = os.pidfd_open(popen.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return popen.wait()


def _wait(popen: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    popen.wait()
    with suppress(RuntimeError):  # the loop has ended before the process
        loop.call_soon_threadsafe(ended.set)


async def _reap(group: int) -> None:
    """Collect the members of a killed group that became our children, so that no zombie stays."""
    for _ in range(50):
        try:
            while os.waitpid(-group, os.WNOHANG) != (0, 0):  # noqa: ASYNC222 - it does not wait
                pass
        except ChildProcessError:
            return
        await asyncio.sleep(0.01)


def _collect_strays(known: Collection[int]) -> None:
    """Collect what has ended and is nobody's: our own children are ``known``, or in our session."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, ChildProcessError):
            is_ours = child.pid in known or os.getsid(child.pid) == os.getsid(0)
            if not is_ours and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _with_shim(command: Command, stop_signal: int) -> list[str]:
    if sys.platform != "linux":
        return list(command.arguments)
    shim = (str(_HERE / "shim.py"), str(os.getpid()), str(int(stop_signal)), command.account)
    return [*_BARE_PYTHON, *shim, *command.arguments]


def adopt_orphans(known: Callable[[], Collection[int]]) -> None:
    """Become the parent of grandchildren whose parent died (Linux), since not every init process collects them.

    They are collected when they end; ``known`` returns those of our own children that somebody waits for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, lambda: _collect_strays(known()))


def choose_account() -> Account:
    """Find out how PostgreSQL can be run here.

    It refuses to run as root, and as a user id that has no account on the system. In a user namespace it is nobody.
    """
    if sys.platform != "linux" or (os.geteuid() != 0 and has_name(os.geteuid())):
        return "self"
    probe = [*_BARE_PYTHON, str(_HERE / "shim.py"), str(os.getpid()), "9", "namespace", "/bin/true"]
    if has_name(NOBODY) and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return "namespace"
    return "nobody" if os.geteuid() == 0 else "self"


def has_name(user: int) -> bool:
    """Return whether the system has an account with the id ``user``."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
