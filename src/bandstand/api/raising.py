"""The exceptions that an action raises, for its OpenAPI document."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["raised_by", "raises"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


def raises(*errors: type[Exception]) -> Callable[[Handler], Handler]:
    """Declare the errors that a view's method answers with, for the statuses and codes in its OpenAPI document.

    ::

        @action(detail=True, methods=["post"])
        @raises(NotCancellable)
        def cancel(self, request, pk): ...

    They are REST framework's, or those for which ``bandstand.api`` has a problem (``ServiceCallError``). Errors of
    every method, such as validation errors, need not be declared.
    """

    def mark(handler: Handler) -> Handler:
        handler.raised_errors = errors  # type: ignore[attr-defined]
        return handler

    return mark


def raised_by(handler: Any) -> tuple[type[Exception], ...]:
    """Return the errors that :func:`raises` has declared."""
    errors: tuple[type[Exception], ...] = getattr(handler, "raised_errors", ())
    return errors
