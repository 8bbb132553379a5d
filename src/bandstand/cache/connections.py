"""Connections to one Redis server, and commands on them that fail within their time."""

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["Link"]


class Link:
    """One server. A command takes an idle connection or a new one, so there are as many as threads that ask at once.

    The client of redis-py costs more than the command itself (retries, telemetry, hooks: 63 µs a GET of which its
    connection takes 28), so its connections are used without it.
    """

    def __init__(self, url: str, *, timeout: float, **options: Any) -> None:
        """``timeout`` is in seconds; ``options`` are those of redis-py's ``Connection``."""
        from redis import connection, exceptions  # noqa: PLC0415 - the driver, imported when the backend is built
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        self.errors: Final = (exceptions.RedisError, OSError)
        self.refusals: Final = exceptions.ResponseError
        self._lost: Final = exceptions.ConnectionError
        parse: Any = connection.parse_url  # redis-py is typed in part
        located: dict[str, Any] = parse(url)
        self._class: Any = located.pop("connection_class", connection.Connection)
        self._options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,  # version 3 begins with negotiations that cost three more round trips
            "driver_info": None,
            **located,
            **options,
        }
        self.name: Final = f"{located.get('host', located.get('path', 'localhost'))}:{located.get('port', 6379)}"
        self._timeout = timeout
        self._process = os.getpid()
        self._idle: deque[Any] = deque()

    def ask(self, *command: Any) -> Any:
        """Send one command and return the answer.

        Raises:
            one of ``errors``: no answer in time, or the server refused the command (``refusals``).
        """
        answer = self.ask_all([command])[0]
        if isinstance(answer, self.refusals):
            raise answer
        return answer

    def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send several commands at once and return their answers, of which single ones may be ``refusals``.

        Raises:
            one of ``errors``: no answer in time.
        """
        began = time.monotonic()
        connection = self._take()
        fresh = not connection.is_connected
        try:
            return self._converse(connection, commands)
        except self._lost:
            # The server was restarted, or has closed an idle connection: every idle one is as dead as this one was.
            if fresh or time.monotonic() - began > self._timeout / 2:
                raise
        self.forget()
        return self._converse(self._take(), commands)

    def forget(self) -> None:
        """Close the idle connections."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return
            connection.disconnect()

    def _take(self) -> Any:
        if self._process != os.getpid():
            # After a fork the connections belong to the parent: to close them would say goodbye in its name.
            self._process, self._idle = os.getpid(), deque()
        try:
            return self._idle.pop()  # the last one used: so the number of those in use stays small
        except IndexError:
            return self._class(**self._options)

    def _converse(self, connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Use the connection and give it back; one that broke is dropped."""
        try:
            if not connection.is_connected:
                connection.connect()
            packed = connection.pack_command(*commands[0]) if len(commands) == 1 else connection.pack_commands(commands)
            connection.send_packed_command(packed, check_health=False)
            answers = [self._answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        return answers

    def _answer(self, connection: Any) -> Any:
        try:
            return connection.read_response()
        except self.refusals as error:
            return error
