"""The context that is bound now, in this thread or task."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Final, ParamSpec, TypeVar, cast

from django.conf import settings
from django.db import connections

from bandstand.context.values import Context, new_context

__all__ = ["bind", "bound", "carry", "current", "update"]

P = ParamSpec("P")
R = TypeVar("R")

variable: Final[ContextVar[Context | None]] = ContextVar("bandstand.context", default=None)


def current() -> Context:
    """Return the bound context, or a fresh root when none is bound (in a shell, in a management command)."""
    return variable.get() or new_context()


def bound() -> Context | None:
    """Return the bound context, or None."""
    return variable.get()


class bind:  # noqa: N801 - used as `with bind(context):`, as contextlib names its own
    """Bind ``context`` for a ``with`` block, and what was bound before after it, also when the block raises.

    Right in threads and in coroutines alike; a task made inside begins with the same context.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context | None] | None = None

    def __enter__(self) -> Context:
        self._token = variable.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            variable.reset(self._token)
            self._token = None


def update(**changes: Any) -> Context:
    """Replace fields of the bound context until the enclosing ``bind`` or request ends, and return the result.

    For what becomes known on the way, as the user once the token is verified. Does nothing when none is bound.

    Raises:
        TypeError: a change names no field.
    """
    context = variable.get()
    if context is None:
        return new_context().replace(**changes)
    context = context.replace(**changes)
    variable.set(context)
    return context


class _closing_connections:  # noqa: N801 - as ``bind``
    """Close the database connections of this thread that are opened in the block, unless a transaction is open."""

    __slots__ = ("_open",)

    def __enter__(self) -> None:
        self._open = {connection.alias for connection in _open_connections()}

    def __exit__(self, *_: object) -> None:
        for connection in _open_connections():
            if connection.alias not in self._open and not connection.in_atomic_block:
                connection.close()


def _open_connections() -> list[Any]:
    if not settings.configured:
        return []
    return [each for each in connections.all(initialized_only=True) if each.connection is not None]


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` so that it runs with the context that is bound now, in whatever thread it is called.

    Threads begin without a context: ``executor.submit(carry(work))``. Coroutine functions are carried too. Database
    connections that ``function`` opens in a thread are closed when it is done, since no request ends there.
    """
    context = current()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        with bind(context), _closing_connections():
            return function(*args, **kwargs)

    @functools.wraps(function)
    async def carried_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
        with bind(context):
            return await cast("Any", function)(*args, **kwargs)

    return cast("Callable[P, R]", carried_coroutine) if inspect.iscoroutinefunction(function) else carried
