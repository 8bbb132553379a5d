"""Handlers that neither return nor raise an ordinary exception."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn

from django.db import connection


class Base(BaseException):
    """Not an ``Exception``."""


class Mute(Exception):
    """An exception whose ``repr()`` fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class MuteBase(BaseException):
    """The same, and not an ``Exception``; its ``repr()`` raises ``SystemExit``."""

    def __repr__(self) -> str:
        raise SystemExit

    __str__ = __repr__


def throw(error: BaseException) -> Callable[[], NoReturn]:
    def misbehave() -> NoReturn:
        raise error

    return misbehave


def execute(statement: str) -> Callable[[], None]:
    def misbehave() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return misbehave


def execute_and_catch() -> None:
    with contextlib.suppress(Exception):
        execute("COMMIT")()


def close() -> None:
    connection.close()


def by_driver(method: str) -> Callable[[], None]:
    def misbehave() -> None:
        driver: Any = connection.connection
        getattr(driver, method)()

    return misbehave


MISBEHAVIOURS: Final[dict[str, Callable[[], object]]] = {
    "base": throw(Base()),
    "cancelled": throw(asyncio.CancelledError()),
    "generator exit": throw(GeneratorExit()),
    "keyboard": throw(KeyboardInterrupt()),
    "exit": lambda: sys.exit(0),
    "group": throw(BaseExceptionGroup("many", [ValueError(1), asyncio.CancelledError()])),
    "mute": throw(Mute()),
    "mute base": throw(MuteBase()),
    "rollback": execute("ROLLBACK"),
    "commit": execute("  commit and chain"),
    "end": execute("END"),
    "abort": execute("ABORT"),
    "caught": execute_and_catch,
    "close": close,
    "driver rollback": by_driver("rollback"),
    "driver commit": by_driver("commit"),
    "driver close": by_driver("close"),
}
"""Functions that misbehave, by name."""


async def coroutine() -> None:
    raise RuntimeError("reached")


def generator() -> Iterator[None]:
    yield


async def asynchronous() -> AsyncIterator[None]:
    yield


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


LAZY: Final[dict[str, Callable[[], object]]] = {
    "coroutine": coroutine,
    "generator": generator,
    "async generator": asynchronous,
    "awaitable": Awaitable,
}
"""Functions that return something whose code has not run, by name."""
