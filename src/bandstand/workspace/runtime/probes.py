"""Probes that belong to no single server: an HTTP answer, a file that is there."""

import asyncio
from pathlib import Path
from typing import Final

from bandstand.workspace.runtime.resources import NotReady, Probe

__all__ = ["AnswerProbe", "FileProbe", "HttpProbe", "ReplyProbe", "request"]

_LIMIT: Final = 64 * 1024


class HttpProbe(Probe, frozen=True, kw_only=True):
    """Ready when ``path`` answers 200."""

    host: str = "127.0.0.1"
    port: int
    path: str

    async def check(self) -> None:
        status, body = await request("GET", self.host, self.port, self.path)
        if status != 200:
            raise NotReady(f"{self.path} answers {status}: {body.decode(errors='replace').strip()[:500]}")


class AnswerProbe(Probe, frozen=True, kw_only=True):
    """Alive when ``path`` answers anything at all: an error is a sign of life too, and may come from a database."""

    host: str = "127.0.0.1"
    port: int
    path: str

    async def check(self) -> None:
        await request("GET", self.host, self.port, self.path)


class ReplyProbe(Probe, frozen=True, kw_only=True):
    """Alive when the server replies anything at all to ``question``: the cheapest that its protocol knows.

    A refusal is a sign of life too, as that of a server with too many clients.
    """

    host: str = "127.0.0.1"
    port: int
    question: bytes

    async def check(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(self.question)
            if not await reader.read(1):
                raise NotReady("it closed the connection without a reply")
        finally:
            writer.transport.abort()


class FileProbe(Probe, frozen=True, kw_only=True):
    """Ready while the file at ``path`` is there."""

    path: Path

    async def check(self) -> None:
        if not self.path.exists():
            raise NotReady("it has not said yet that it is ready")


async def request(method: str, host: str, port: int, path: str) -> tuple[int, bytes]:
    """Make one HTTP/1.1 request without a body; return the status and at most 64 kB of the answer.

    Raises:
        OSError: there was no connection, or no answer in HTTP.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        answer, _, body = (await _read(reader)).partition(b"\r\n\r\n")
    finally:
        writer.transport.abort()
    words = answer.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError("the answer was not HTTP")
    chunked = b"transfer-encoding: chunked" in answer.lower()
    return int(words[1]), _joined(body) if chunked else body


def _joined(chunks: bytes) -> bytes:
    """Return the body of a chunked answer (RFC 9112, 7.1), as far as it came."""
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        body, chunks = body + rest[:length], rest[length + 2 :]
        if length == 0:
            break
    return body


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while len(data) < _LIMIT and (chunk := await reader.read(_LIMIT)):
        data += chunk
    return data
