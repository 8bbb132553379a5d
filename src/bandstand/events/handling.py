"""One attempt: the inbox row and the handler in one transaction, with the event's context bound."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bandstand.context import Context, bind, new_context
from bandstand.events import failpoints, metrics
from bandstand.events.envelope import Message
from bandstand.events.inbox import Entry
from bandstand.events.subscriptions import Subscription
from bandstand.exceptions import EventError

__all__ = ["HandlerFailed", "Handling", "context_of"]

logger: Final = logging.getLogger(__name__)


class HandlerFailed(EventError):
    """The handler raised, or its transaction could not be committed; the cause is chained."""

    code = "handler_failed"


class BrokenTransaction(EventError):
    """The handler swallowed a database error that had ended its transaction, so that nothing of it would last."""

    code = "broken_transaction"


def context_of(message: Message, timeout: float) -> Context:
    """Return the context of the work that ``message`` causes, for at most ``timeout`` seconds."""
    return new_context(
        correlation_id=message.correlation_id, causation_id=message.id, trace=message.trace, timeout=timeout
    )


class Handling:
    """Runs handlers in transactions on the database of ``alias``."""

    def __init__(self, alias: str, *, timeout: float) -> None:
        self._alias = alias
        self._timeout = timeout

    def run(
        self,
        subscription: Subscription,
        message: Message,
        event: Any,
        *,
        enter: Callable[[], Entry],
        leave: Callable[[], None] = lambda: None,
    ) -> Entry:
        """Handle ``event`` if ``enter`` says that it is the first time; ``leave`` ends the transaction.

        Raises:
            HandlerFailed: nothing of the attempt lasted, except perhaps the commit whose answer was lost.
            django.db.Error: the database can't be used, and the handler has not begun.
        """
        attempt = _Attempt(
            alias=self._alias, subscription=subscription, message=message, event=event, enter=enter, leave=leave
        )
        with bind(context_of(message, self._timeout)):
            try:
                entry = self._healed(attempt)
            except HandlerFailed as error:
                metrics.attempts.labels(subscription.name, "failed").inc()
                attempt.tell_failure(error)
                raise
        metrics.attempts.labels(subscription.name, "handled" if entry is Entry.FIRST else entry.value).inc()
        return entry

    def _healed(self, attempt: "_Attempt") -> Entry:
        """A connection from before the database was restarted fails before the handler begins: a new one will do."""
        try:
            return attempt.run()
        except (OperationalError, InterfaceError):
            if connections[self._alias].in_atomic_block:  # the transaction of a test: not ours to end
                raise
            connections[self._alias].close()
            return attempt.run()


class _Attempt:
    def __init__(
        self,
        *,
        alias: str,
        subscription: Subscription,
        message: Message,
        event: Any,
        enter: Callable[[], Entry],
        leave: Callable[[], None],
    ) -> None:
        self._alias = alias
        self._subscription = subscription
        self._message = message
        self._event = event
        self._enter = enter
        self._leave = leave

    def run(self) -> Entry:
        connection = connections[self._alias]
        started = time.perf_counter()
        begun = False
        try:
            with transaction.atomic(using=self._alias):
                entry = self._enter()
                begun = entry is Entry.FIRST
                if begun:
                    failpoints.hit("consumer.before_handler")
                    self._subscription.call(self._event, self._message)
                    failpoints.hit("consumer.after_handler")
                    _refuse_broken(connection)
                self._leave()
        except (Exception, SystemExit) as error:
            if connection.errors_occurred and not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            if not begun:
                raise
            metrics.handler_seconds.labels(self._subscription.name, "failed").observe(time.perf_counter() - started)
            raise HandlerFailed(f"{self._subscription.name} failed: {error!r}") from error
        failpoints.hit("consumer.after_commit")
        if begun:
            self._tell(time.perf_counter() - started)
        return entry

    def tell_failure(self, error: HandlerFailed) -> None:
        """Log what went wrong, with the traceback of the handler."""
        logger.warning(
            "The handler of %s failed",
            self._message.type,
            exc_info=error.__cause__,
            extra={
                "subscription": self._subscription.name,
                "event_id": self._message.id,
                "source": self._message.source,
                "attempt": self._message.attempt,
            },
        )

    def _tell(self, seconds: float) -> None:
        name = self._subscription.name
        metrics.handler_seconds.labels(name, "handled").observe(seconds)
        if self._message.attempt == 1:
            metrics.lag_seconds.labels(name).observe(max(0.0, (datetime.now(UTC) - self._message.time).total_seconds()))
        logger.info(
            "Handled %s",
            self._message.type,
            extra={
                "subscription": name,
                "event_id": self._message.id,
                "source": self._message.source,
                "attempt": self._message.attempt,
                "duration_ms": round(seconds * 1000, 1),
            },
        )


def _refuse_broken(connection: BaseDatabaseWrapper) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a silent rollback, and so does Django in some cases.

    The event would count as handled, and nothing of it would be there.

    Raises:
        BrokenTransaction: it is such a transaction.
    """
    status = getattr(getattr(connection.connection, "info", None), "transaction_status", None)
    if connection.needs_rollback or getattr(status, "name", "") == "INERROR":
        raise BrokenTransaction(
            "The transaction was broken by a database error that the handler caught, so it can't be committed. "
            "Wrap the statement that may fail in `with transaction.atomic():`, and catch the error outside of it."
        )
