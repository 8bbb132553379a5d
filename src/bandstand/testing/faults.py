"""A network that misbehaves on demand: a proxy between a client and a real server, without root and without containers.

::

    with FaultProxy(port=8001) as proxy:        # proxy.url stands for http://127.0.0.1:8001
        proxy.fault = Fault(latency=5.0)        # from now on, for connections that are open too
        ...
        proxy.heal()
        with proxy.down():                      # connections are refused
            ...

The kinds of faults are those of Toxiproxy (github.com/Shopify/toxiproxy).
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

__all__ = ["Fault", "FaultProxy"]

T = TypeVar("T")

_CHUNK: Final = 64 * 1024
_TICKS: Final = 20  # a second, in which a limited bandwidth is handed out


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the network. Without arguments: nothing.

    ``latency`` delays each answer by so many seconds. ``bandwidth`` lets so many bytes of answers through a second.
    ``limit`` ends a connection after so many bytes of answers. ``black_hole`` takes everything and passes nothing on,
    as a firewall that drops. ``reset`` ends each connection with RST instead of passing a byte on. ``slow_close`` tells
    each side so many seconds late that the other has closed.
    """

    latency: float = 0.0
    bandwidth: int | None = None
    limit: int | None = None
    black_hole: bool = False
    reset: bool = False
    slow_close: float = 0.0


class FaultProxy:
    """Passes TCP connections on to ``host:port``, with the ``fault`` that is set. Set it from any thread.

    ``with FaultProxy(…) as proxy`` runs it on a thread of its own; ``url`` and ``listening`` (its port) stay the same
    until the end. ``accepted`` counts the connections.
    """

    def __init__(self, *, port: int, host: str = "127.0.0.1") -> None:
        self.fault = Fault()
        self.accepted = 0
        self.listening = 0
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the target is reached through the proxy."""
        return f"http://127.0.0.1:{self.listening}"

    def heal(self) -> None:
        """Pass everything on again. What was swallowed or reset stays lost."""
        self.fault = Fault()

    def cut(self) -> None:
        """End all connections that are open; new ones are accepted."""
        self._do(self._cut)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections, and end those that are open, for a ``with`` block."""
        self._do(self._close)
        try:
            yield
        finally:
            self._do(self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    # --- on the proxy's own thread ------------------------------------------------------------------

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.listening)
        self.listening = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = self._loop.create_task(self._connect(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            there, back = await asyncio.open_connection(*self._target)
            writers.append(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, back))
                group.create_task(self._pass_back(there, writer))
        except* (_Reset, OSError):
            _abort(writer)
        finally:
            for each in writers:
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the client to the target."""
        while chunk := await reader.read(_CHUNK):
            if self.fault.reset:
                raise _Reset
            if not self.fault.black_hole:
                writer.write(chunk)
                await writer.drain()
        await self._end(writer)

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the target to the client: read at once and written when due, so that the delay is one for all parts."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            while chunk := await reader.read(_CHUNK):
                queue.put_nowait((self._loop.time() + self.fault.latency, chunk))
            queue.put_nowait((self._loop.time() + self.fault.latency, b""))

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            passed = 0
            while True:
                due, chunk = await queue.get()
                await asyncio.sleep(due - self._loop.time())
                if not chunk:
                    break
                passed += await self._write(writer, chunk, passed)
        await self._end(writer)

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes, passed: int) -> int:
        """Write what the fault lets through, and return how much that is."""
        if self.fault.reset:
            raise _Reset
        if self.fault.black_hole:
            return 0
        limit = self.fault.limit
        allowed = chunk if limit is None else chunk[: max(0, limit - passed)]
        for part in self._slices(allowed):
            writer.write(part)
            await writer.drain()
            if self.fault.bandwidth is not None:
                await asyncio.sleep(1 / _TICKS)
        if limit is not None and passed + len(chunk) >= limit:
            raise _Reset
        return len(allowed)

    def _slices(self, data: bytes) -> Iterator[bytes]:
        size = len(data) if self.fault.bandwidth is None else max(1, self.fault.bandwidth // _TICKS)
        for start in range(0, len(data), max(1, size)):
            yield data[start : start + size]

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        if self.fault.black_hole:  # nobody hears of the end either
            await asyncio.Event().wait()
        await asyncio.sleep(self.fault.slow_close)
        with suppress(OSError, RuntimeError):
            writer.write_eof()


class _Reset(Exception):
    """This connection is to end at once."""


def _abort(writer: asyncio.StreamWriter) -> None:
    """End with RST, as the kernel does for a process that was killed."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
