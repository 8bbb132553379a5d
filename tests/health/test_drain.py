import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from bandstand.health import (
    drain_on_sigterm,
    hears_sigterm,
    is_draining,
    start_draining,
    wait_until_draining,
    when_drained,
)
from bandstand.health.drain import SigtermDrain, _at_end, _installed


class Timers:
    """Holds timers back until they are told to go off."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.set.append((seconds, function))


@pytest.fixture
def server() -> Iterator[list[int]]:
    """A server's own SIGTERM handler, and what it heard."""
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
    signal.setitimer(signal.ITIMER_REAL, 0)
    _installed.clear()
    _at_end.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_server_goes_on_while_readiness_says_no(server: list[int]) -> None:
    """SIGTERM turns readiness at once; the server hears of it when the drain time is over."""
    timers = Timers()
    SigtermDrain(seconds=5, start_timer=timers).install()
    terminate()
    assert is_draining()
    assert server == []
    [(seconds, go_off)] = timers.set
    assert seconds == 5
    go_off()
    assert server == [signal.SIGTERM]


def test_a_second_sigterm_does_not_cut_the_drain_time(server: list[int]) -> None:
    """A service manager signals the whole group, and the master its workers: one process hears it twice."""
    timers = Timers()
    SigtermDrain(seconds=5, start_timer=timers).install()
    terminate()
    terminate()
    assert server == []
    assert len(timers.set) == 1


def test_a_handler_that_comes_later_is_found(server: list[int]) -> None:
    """A server that sets its handler once the application is loaded still stands behind the drain."""
    timers = Timers()
    SigtermDrain(seconds=5, start_timer=timers).install()
    late: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: late.append(number))
    os.kill(os.getpid(), signal.SIGALRM)  # as the timer does
    terminate()
    assert (is_draining(), late, server) == (True, [], [])
    timers.set[0][1]()
    assert (late, server) == ([signal.SIGTERM], [])


def test_looking_for_a_later_handler_ends(server: list[int]) -> None:
    """After ten seconds nothing is looked for, and SIGALRM is as it was."""
    SigtermDrain(seconds=5).install()
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(0.2)
    for _ in range(50):
        os.kill(os.getpid(), signal.SIGALRM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_an_alarm_of_somebody_else_is_left_alone(server: list[int]) -> None:
    """Where the application uses SIGALRM, it keeps it."""
    alarms: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: alarms.append(number))
    SigtermDrain(seconds=5).install()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    os.kill(os.getpid(), signal.SIGALRM)
    assert alarms == [signal.SIGALRM]


def test_a_process_that_drains_already_still_stops(server: list[int]) -> None:
    """Who was told to drain before SIGTERM gets the same time, and ends."""
    timers = Timers()
    SigtermDrain(seconds=5, start_timer=timers).install()
    start_draining()
    terminate()
    [(_, go_off)] = timers.set
    go_off()
    assert server == [signal.SIGTERM]


def configure(settings: Settings, process: str, seconds: float) -> None:
    settings.BANDSTAND = settings.BANDSTAND | {"PROCESS": process, "HEALTH": {"DRAIN": seconds}}


def test_it_is_installed_where_it_was_asked_for(server: list[int], settings: Settings) -> None:
    """A web process with a drain time gets it; SIGTERM then waits."""
    configure(settings, "web", 3600)
    drain_on_sigterm()
    terminate()
    assert is_draining()
    assert server == []


@pytest.mark.parametrize(("process", "seconds"), [("web", 0), ("worker", 5), ("command", 5)])
def test_nothing_is_touched_elsewhere(server: list[int], settings: Settings, process: str, seconds: float) -> None:
    """Without a drain time, and in processes that serve no requests, signals are as they were."""
    configure(settings, process, seconds)
    drain_on_sigterm()
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    terminate()
    assert server == [signal.SIGTERM]
    assert not is_draining()


def test_other_threads_install_nothing(server: list[int], settings: Settings) -> None:
    """Only the main thread may set handlers; elsewhere the call does nothing and does not fail."""
    configure(settings, "web", 5)
    thread = threading.Thread(target=drain_on_sigterm)
    thread.start()
    thread.join()
    terminate()
    assert server == [signal.SIGTERM]


def test_what_is_to_be_done_last_comes_before_the_server_stops(
    server: list[int], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """What leaving needs is done when the drain time is over, once each; and a failure does not keep the process."""
    done: list[list[int]] = []

    def fail() -> None:
        raise OSError("no route")

    def leave() -> None:
        done.append(list(server))

    for function in (fail, leave, leave):
        when_drained(function)
    timers = Timers()
    SigtermDrain(seconds=5, start_timer=timers).install()
    terminate()
    assert done == []
    timers.set[0][1]()
    assert done == [[]]
    assert server == [signal.SIGTERM]
    assert "no route" in caplog.text


def test_who_has_something_to_do_last_is_told_without_a_drain_time(server: list[int], settings: Settings) -> None:
    """A process that has to leave a registry hears SIGTERM first, whatever it is called."""
    configure(settings, "command", 0)
    when_drained(lambda: None)
    drain_on_sigterm()
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    drain_on_sigterm(serving=True)
    drain_on_sigterm(serving=True)
    assert len(_installed) == 1
    terminate()
    assert wait_until_draining(0)


def test_a_later_handler_is_noticed(server: list[int], settings: Settings) -> None:
    """Who depends on SIGTERM being heard here can ask whether it would be."""
    assert hears_sigterm()
    configure(settings, "web", 3600)
    drain_on_sigterm()
    assert hears_sigterm()
    signal.signal(signal.SIGTERM, lambda *_: None)
    assert not hears_sigterm()


def test_a_command_that_ends_soon_ends_well() -> None:
    """The timer that looks for the server's handler does not kill a process that is over before it goes off."""
    program = (
        "import atexit, time; atexit.register(time.sleep, 0.5);"
        " from bandstand.health.drain import SigtermDrain; SigtermDrain(seconds=5).install()"
    )
    # What is registered first runs last: so the process lives on after the timer's own end, as Python's end may last.
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 0
