"""Rows whose INSERT needs no answer of its own: they go to the server with the next message of their transaction.

As a rule that is the COMMIT, and then they cost no round trip. An INSERT that fails ends the message, so the COMMIT
behind it is not carried out.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import Connection, pq

from bandstand import failpoints
from bandstand.postgresql.direct import converse, raise_error_of

__all__ = ["Riders"]

_MOST: Final = 1024 * 1024  # bytes that may wait


class Riders:
    """The rows that wait on one connection.

    While any waits, every way through psycopg to the server passes ``_wait``, which sends them first: cursors of
    Django and of psycopg, COPY, savepoints, another's COMMIT. So what comes later finds them there, and no transaction
    ends without them.
    """

    def __init__(self, connection: Connection[Any], limit: Callable[[], str]) -> None:
        """``limit`` returns what has to come before them, at the moment when they are sent: a time limit or nothing."""
        self.connection = connection
        self._limit = limit
        self.insert = self.what = ""
        self._rows: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, insert: str, row: str, values: Sequence[str], what: str) -> bool:
        """Let a row ride; say whether so much waits now that it has to be sent.

        ``insert`` ends before VALUES, ``row`` is what stands for each row, with ``values`` (text without NUL) instead
        of each ``%s``; ``what`` is how an error of theirs begins.
        """
        escape = pq.Escaping(self.connection.pgconn).escape_literal
        self._rows.append(row.encode() % tuple([escape(value.encode()) for value in values]))
        self._size += len(self._rows[-1])
        self.insert, self.what = insert, what
        self.connection.wait = self._wait  # type: ignore[assignment,method-assign] # until they are sent
        return self._size > _MOST

    def flush(self) -> None:
        """Send them now.

        Raises:
            psycopg.Error: the server refuses them.
        """
        with self.connection.lock:
            self._send()

    def take(self) -> list[bytes]:
        """Hand out the statements to be sent, and forget them."""
        if not self._rows:
            return []
        limit = self._limit().encode()
        insert = f"{self.insert} VALUES ".encode() + b",".join(self._rows)
        self.discard()
        if failpoints.switched_off("riders.sending"):
            return []
        return [limit, insert] if limit else [insert]

    def discard(self) -> None:
        """Forget them: their transaction is undone, at least as far back as the first of them."""
        self._rows.clear()
        self._size = 0
        vars(self.connection).pop("wait", None)

    def _send(self) -> None:
        if statements := self.take():
            for result in self.connection.wait(converse(self.connection, b";".join(statements))):
                raise_error_of(self.connection, result, self.what)

    def _wait(self, generator: Any, *arguments: Any, **options: Any) -> Any:
        """Instead of the connection's own: whoever calls it holds the connection's lock."""
        if failpoints.switched_off("riders.guard"):
            return type(self.connection).wait(self.connection, generator, *arguments, **options)
        if self._rows:
            self._send()
        return self.connection.wait(generator, *arguments, **options)
