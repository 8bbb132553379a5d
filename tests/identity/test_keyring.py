import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from bandstand.identity import keyring
from bandstand.identity.keyring import kept
from tests.identity.conftest import World


def test_what_is_kept_is_built_once() -> None:
    """Requests that come first all at once share one build, and so one key set and one fetch."""
    both_build = threading.Barrier(2)
    built: list[object] = []

    @kept
    def thing() -> object:
        with suppress(threading.BrokenBarrierError):
            both_build.wait(timeout=0.2)
        built.append(object())
        return built[-1]

    threads = [threading.Thread(target=thing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [thing()]


def test_what_is_kept_ends_with_the_settings(world: World, settings: Any) -> None:
    """Other settings mean other keys."""
    settings.BANDSTAND = world.setting()
    before = keyring.trusted_keys()
    assert keyring.trusted_keys() is before
    settings.BANDSTAND = world.setting(TRUSTED_KEYS_FILE="")
    assert keyring.trusted_keys().find(world.caller.kid) is None
    assert before.find(world.caller.kid) == world.caller.public


FORK = """
import os, threading
from bandstand.identity import keyring

held, done = threading.Event(), threading.Event()

def hold():
    with keyring._building:
        held.set()
        done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(0 if keyring._building.acquire(timeout=5) else 1)
done.set()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_is_not_locked_out() -> None:
    """A lock that another thread held while the server forked its workers does not stop the child."""
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60, env={})
