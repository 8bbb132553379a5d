"""Processes of the service of this folder, and clients that ask them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tests.integration.api.web import Web
from tests.waiting import GUARD

__all__ = ["PATIENT", "Answer", "Node", "drive", "in_background", "kill"]

PATIENT: dict[str, Any] = {"TIMEOUT": GUARD, "CONNECT_TIMEOUT": GUARD}
"""A client's settings: more time than the busiest machine takes."""


class Node(Web):
    """One process of one service."""

    module = "tests.integration.resilience.service"

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        asks: str = "",
        at: list[str] | None = None,
        fails: bool = False,
        **client: Any,
    ) -> None:
        """``asks`` is the service that it calls, which is found ``at`` these URLs; ``client`` its client's settings."""
        self.name = name
        self.ledger = folder / f"{name}.ledger"
        super().__init__(
            folder / f"{name}.log",
            NAME=name,
            NEXT=asks,
            DISCOVERY="static:" + ",".join(f"{asks}={url}" for url in at or ()),
            CLIENT=json.dumps(client),
            FAILS="1" if fails else "0",
            LEDGER=str(self.ledger),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> list[str]:
        """Each piece of work that has arrived."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` is when it came, by the monotonic clock; ``took`` are the seconds that the service needed.

    Status 0: there was none.
    """

    at: float
    status: int
    code: str
    took: float


def drive(
    node: Node,
    path: str,
    *,
    clients: int,
    count: int = 0,
    until: Callable[[], bool] = lambda: False,
    method: str = "GET",
    pause: float = 0.0,
) -> list[Answer]:
    """Let ``clients`` ask one after the other, ``count`` times in all or ``until`` something holds."""
    answers: list[Answer] = []
    numbers: Iterator[int] = iter(range(count)) if count else iter(lambda: 0, 1)
    lock = threading.Lock()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", node.port, timeout=2 * GUARD)
        while not until():
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            answers.append(_ask(connection, method, path.replace("{n}", str(number))))
            time.sleep(pause)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _ask(connection: HTTPConnection, method: str, path: str) -> Answer:
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
    except (OSError, HTTPException):
        connection.close()
        return Answer(at=time.monotonic(), status=0, code="", took=0.0)
    took = float(response.headers.get("X-Took", "0"))
    return Answer(at=time.monotonic(), status=response.status, code=body.get("code", ""), took=took)


@contextmanager
def in_background(work: Callable[[], list[Answer]]) -> Iterator[list[Answer]]:
    """Run ``work`` beside the block, and wait for its end; the list has its answers then."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.extend(work()))
    thread.start()
    try:
        yield answers
    finally:
        thread.join()


def kill(node: Node) -> None:
    """SIGKILL, to all processes of it, the one first that would start the others anew."""
    assert node.process is not None
    children = psutil.Process(node.process.pid).children(recursive=True)
    node.process.kill()
    for child in children:
        child.kill()
    node.process.wait()
