"""Services asked by their own ``manage.py events``, all at once."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Timer
from typing import IO, Final, TypeVar

import msgspec

from bandstand.cli.service import Inside, inside
from bandstand.cli.workspace import Opened
from bandstand.exceptions import NotRunning

__all__ = ["Conversation", "Silent", "WrittenWrong", "ask_all", "reached"]

_PATIENCE: Final = 60.0  # seconds, for one service
_AT_ONCE: Final = 8

_USAGE: Final = 2  # exit status of a command that is written wrong
_COMPLAINT: Final = re.compile(r"^manage\.py [^\n]*?: error: (.*)\Z", re.MULTILINE | re.DOTALL)  # of argparse

T = TypeVar("T")


class Silent(Exception):
    """A service did not answer; the text says what it said instead."""


class WrittenWrong(Exception):
    """A service can't make sense of the command, and none of the others could; the text says of what."""


def reached(place: Opened) -> list[Inside]:
    """Return all services, as their commands see them.

    Raises:
        NotRunning: no database would answer.
    """
    found = [inside(place, service.name) for service in place.workspace.services]
    if not all(each.running for each in found):
        raise NotRunning("The platform is not running, so no service can be asked.", hint="Start it: bandstand up -d")
    return found


def ask_all(services: Iterable[Inside], question: Callable[[Inside], T]) -> tuple[dict[str, T], dict[str, str]]:
    """Put ``question`` to all services side by side; return the answers, and what was wrong where there is none.

    Raises:
        WrittenWrong: the question was.
    """
    answers: dict[str, T] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = {each.service.name: pool.submit(question, each) for each in services}
        for name, future in asked.items():
            try:
                answers[name] = future.result()
            except Silent as error:
                failed[name] = str(error)
    return answers, failed


class Conversation:
    """A ``manage.py events`` that runs inside of a service and answers in lines of JSON."""

    def __init__(self, found: Inside, *arguments: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the conversation; a pipe could fill up
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "events", *arguments],
            cwd=found.service.folder,
            env=found.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self._limit = Timer(_PATIENCE, self._process.kill)
        self._limit.daemon = True
        self._limit.start()

    def ask(self, question: object, answer: type[T]) -> T:
        """Write one line, read one line.

        Raises:
            Silent: there is no answer, or not such a one.
            WrittenWrong: its arguments make no sense.
        """
        writing, _ = self._pipes()
        with suppress(OSError):  # it has ended; what it said is on its standard error
            writing.write(msgspec.json.encode(question) + b"\n")
            writing.flush()
        return self.read(answer)

    def read(self, answer: type[T]) -> T:
        """Read one line.

        Raises:
            Silent, WrittenWrong: as for ``ask``.
        """
        _, reading = self._pipes()
        line = reading.readline()
        try:
            return msgspec.json.decode(line, type=answer)
        except msgspec.MsgspecError as error:
            said = self._ended(by_itself=not line)
            raise _complaint(said, self._process.returncode) or Silent(
                _last_words(said) or f"it did not answer in time, or not as expected: {error}"
            ) from error

    def _ended(self, *, by_itself: bool) -> str:
        """End it, unless it does so ``by_itself`` in its time; return what it said on its standard error."""
        if not by_itself:
            self._process.kill()
        self._process.wait()
        self._said.seek(0)
        return self._said.read().decode(errors="replace")

    def close(self) -> None:
        """End it."""
        self._limit.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (*self._pipes(), self._said):
            with suppress(OSError):
                pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _last_words(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-3:])


def _complaint(said: str, status: int) -> WrittenWrong | None:
    """Return what argparse had against the arguments; Python ends with 2 as well where there is no manage.py."""
    complaint = _COMPLAINT.search(said.strip())
    return WrittenWrong(complaint[1]) if complaint and status == _USAGE else None
