"""One attempt: the inbox row and the handler in one transaction, with the event's context bound.

Of a handler that takes batches it is many inbox rows and one handler; such an attempt counts only when it succeeds.
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

import msgspec
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bandstand import failpoints
from bandstand.context import bind, new_context
from bandstand.events import metrics
from bandstand.events.envelope import Message
from bandstand.events.errors import BrokenTransaction, HandlerFailed, TransactionEnded, describe, is_interrupt
from bandstand.events.inbox import Entry
from bandstand.events.subscriptions import Subscription

__all__ = ["Handling", "Work"]

_DEADLOCK: Final = 1213  # of MySQL
_ENDS_TRANSACTION: Final = re.compile(
    r"\s*(COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+((WORK|TRANSACTION)\s+)?TO\b))\b", re.IGNORECASE
)
_ENDED: Final = (
    "The transaction of the handler was ended by {}, so its effects and the record that the event was handled are no "
    "unit. Leave commit, rollback and close to Bandstand; raise an exception to undo."
)

logger: Final = logging.getLogger(__name__)

# What is looked up for each event, by its labels.
_attempts: Final = cache(metrics.attempts.labels)
_seconds: Final = cache(metrics.handler_seconds.labels)
_lag: Final = cache(metrics.lag_seconds.labels)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a batch, as its handler reads it."""

    message: Message
    event: Any


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
        call = partial(subscription.call, event, message)
        tell = partial(_tell, subscription, message)
        attempt = _Attempt(alias=self._alias, name=subscription.name, call=call, enter=enter, leave=leave, tell=tell)
        with bind(message.context(self._timeout)):
            try:
                entry = self._healed(attempt)
            except HandlerFailed as error:
                _attempts(subscription.name, "failed").inc()
                _tell_failure(subscription, message, error)
                raise
        _attempts(subscription.name, "handled" if entry is Entry.FIRST else entry.value).inc()
        return entry

    def run_together(
        self, subscription: Subscription, works: Sequence[Work], *, enter: Callable[[], Collection[str]]
    ) -> Collection[str]:
        """Handle in one transaction those of ``works`` whose ids ``enter`` returns, and return these.

        Raises:
            HandlerFailed: nothing of it lasted, except perhaps the commit whose answer was lost.
            django.db.Error: the database can't be used, and the handler has not begun.
        """
        entered: list[Work] = []

        def enter_those() -> Entry:
            ids = enter()
            entered[:] = [work for work in works if work.message.id in ids]
            return Entry.FIRST if entered else Entry.WAITING

        def call() -> None:
            subscription.call_together([work.event for work in entered], [work.message for work in entered])

        def tell(seconds: float) -> None:
            _tell_together(subscription, entered, seconds)

        with bind(new_context(timeout=self._timeout)):
            self._healed(_Attempt(alias=self._alias, name=subscription.name, call=call, enter=enter_those, tell=tell))
        return {work.message.id for work in entered}

    def _healed(self, attempt: "_Attempt") -> Entry:
        """A connection from before the database was restarted fails before the handler begins: a new one will do."""
        try:
            return attempt.run()
        except (OperationalError, InterfaceError):
            if failpoints.switched_off("consumer.healing"):
                raise
            if connections[self._alias].in_atomic_block:  # the transaction of a test: not ours to end
                raise
            connections[self._alias].close()
            return attempt.run()


class _Attempt:
    """``call`` runs the handler, ``tell`` says that it lasts and how many seconds it took."""

    def __init__(
        self,
        *,
        alias: str,
        name: str,
        call: Callable[[], None],
        enter: Callable[[], Entry],
        leave: Callable[[], None] = lambda: None,
        tell: Callable[[float], None],
    ) -> None:
        self._alias = alias
        self._name = name
        self._call = call
        self._enter = enter
        self._leave = leave
        self._tell = tell

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
                    with _watched(connection) as ends:
                        self._call()
                    failpoints.hit("consumer.after_handler")
                    _refuse_broken(connection, ends)
                self._leave()
        except BaseException as error:
            if is_interrupt(error):
                raise
            if connection.errors_occurred and not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            if not begun:
                raise
            _seconds(self._name, "failed").observe(time.perf_counter() - started)
            raise HandlerFailed(f"{self._name} failed: {describe(error)}") from error
        failpoints.hit("consumer.after_commit")
        if begun:
            self._tell(time.perf_counter() - started)
        return entry


def _tell_failure(subscription: Subscription, message: Message, error: HandlerFailed) -> None:
    """Log what went wrong, with the traceback of the handler."""
    logger.warning(
        "The handler of %s failed",
        message.type,
        exc_info=error.__cause__,
        extra={
            "subscription": subscription.name,
            "event_id": message.id,
            "source": message.source,
            "attempt": message.attempt,
        },
    )


def _tell(subscription: Subscription, message: Message, seconds: float) -> None:
    _seconds(subscription.name, "handled").observe(seconds)
    _observe_lag(subscription, message)
    logger.info(
        "Handled %s",
        message.type,
        extra={
            "subscription": subscription.name,
            "event_id": message.id,
            "source": message.source,
            "attempt": message.attempt,
            "duration_ms": round(seconds * 1000, 1),
        },
    )


def _tell_together(subscription: Subscription, works: Sequence[Work], seconds: float) -> None:
    """One line and one time for all."""
    _seconds(subscription.name, "handled").observe(seconds)
    _attempts(subscription.name, "handled").inc(len(works))
    for work in works:
        _observe_lag(subscription, work.message)
    logger.info(
        "Handled %d events together",
        len(works),
        extra={
            "subscription": subscription.name,
            "first_event_id": works[0].message.id,
            "last_event_id": works[-1].message.id,
            "duration_ms": round(seconds * 1000, 1),
        },
    )


def _observe_lag(subscription: Subscription, message: Message) -> None:
    if message.attempt == 1:
        seconds = (datetime.now(UTC) - message.time).total_seconds()
        _lag(subscription.name).observe(max(0.0, seconds))


@contextmanager
def _watched(connection: BaseDatabaseWrapper) -> Iterator[list[str]]:
    """Refuse statements that end the transaction; yield the list of what ended it all the same.

    The victim of a deadlock loses all of its transaction on MySQL: whoever catches that error goes on in another one,
    which knows nothing of the inbox row.
    """
    ends: list[str] = []

    def watch(execute: Callable[..., Any], sql: Any, *arguments: Any) -> Any:
        if isinstance(sql, str) and _ENDS_TRANSACTION.match(sql):
            statement = sql.strip()[:40]
            ends.append(f"the handler's own statement {statement!r}")
            raise BrokenTransaction(f"A handler can't end its own transaction: {statement!r} was not executed.")
        try:
            return execute(sql, *arguments)
        except OperationalError as error:
            if connection.vendor == "mysql" and error.args[:1] == (_DEADLOCK,):
                ends.append("a deadlock")
            raise

    with connection.execute_wrapper(watch):
        yield ends


def _refuse_broken(connection: BaseDatabaseWrapper, ends: Sequence[str]) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a silent rollback, and so does Django in some cases.

    The event would count as handled, and nothing of it would be there.

    Raises:
        BrokenTransaction: it is such a transaction, or it is over.
    """
    status = getattr(getattr(connection.connection, "info", None), "transaction_status", None)
    state = getattr(status, "name", "")
    if state == "IDLE":
        raise TransactionEnded(_ENDED.format("the handler through the driver"))
    if ends or connection.closed_in_transaction or connection.connection is None:
        raise BrokenTransaction(_ENDED.format(ends[0] if ends else "the handler, which closed the connection"))
    if connection.needs_rollback or state == "INERROR":
        raise BrokenTransaction(
            "The transaction was broken by a database error that the handler caught, so it can't be committed. "
            "Wrap the statement that may fail in `with transaction.atomic():`, and catch the error outside of it."
        )
