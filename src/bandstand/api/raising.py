"""The exceptions that an action raises, for its OpenAPI document."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["raised_by", "raises"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


def raises(*errors: type[Exception]) -> Callable[[Handler], Handler]:
    """Write down which errors of its own a view's method answers with, each with its status and code.

    ::

        @action(detail=True, methods=["post"])
        @raises(NotCancellable)
        def cancel(self, request, pk): ...

    They are REST framework's, or those for which ``bandstand.api`` has a problem (``ServiceCallError``). What every
    method answers with, such as a validation error, needs no word.
    """

    def mark(handler: Handler) -> Handler:
        handler.raised_errors = errors  # type: ignore[attr-defined]
        return handler

    return mark


def raised_by(handler: Any) -> tuple[type[Exception], ...]:
    """Return what :func:`raises` has written down."""
    errors: tuple[type[Exception], ...] = getattr(handler, "raised_errors", ())
    return errors
