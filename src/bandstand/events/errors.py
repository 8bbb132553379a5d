"""The ways in which an attempt to handle an event fails.

::

    EventError
    ├── HandlerFailed           the handler raised, or its transaction could not be committed
    ├── HandlerNotRun           the handler returned a coroutine or a generator
    └── BrokenTransaction       the transaction ended before the handler did
        └── TransactionEnded    past Django, perhaps with a commit
"""

from threading import current_thread, main_thread

from bandstand.exceptions import EventError

__all__ = [
    "BrokenTransaction",
    "HandlerFailed",
    "HandlerNotRun",
    "TransactionEnded",
    "describe",
    "is_interrupt",
    "not_begun",
]


class HandlerFailed(EventError):
    """The handler raised, or its transaction could not be committed; the cause is chained."""

    code = "handler_failed"


class HandlerNotRun(EventError):
    """The handler returned a coroutine, another awaitable or a generator instead of doing its work."""

    code = "handler_not_run"


class BrokenTransaction(EventError):
    """The handler's transaction ended before the handler did, so that its effects and the inbox row are no unit."""

    code = "broken_transaction"


class TransactionEnded(BrokenTransaction):
    """It ended past Django, perhaps with a commit, so another attempt could do the same things twice."""

    code = "transaction_ended"


def not_begun(subscription: str, error: BaseException) -> HandlerFailed:
    """Return the failure of an attempt that ``error`` ended before the handler was called."""
    failure = HandlerFailed(f"{subscription} could not begin to handle the event: {describe(error)}")
    failure.__cause__ = error
    return failure


def is_interrupt(error: BaseException) -> bool:
    """Return whether somebody who runs handlers by hand, in the main thread, has pressed Ctrl-C."""
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()


def describe(error: BaseException) -> str:
    """Return the representation of any exception, also of one whose ``repr()`` fails."""
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - an application's method, which may do anything
        return f"<{type(error).__name__}, whose repr() fails>"
