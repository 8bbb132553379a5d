"""aiohttp: one session for each event loop, closed when the loop shuts down."""

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Final

import aiohttp
from yarl import URL

from bandstand.client.messages import Headers, Request, Response
from bandstand.client.transports.base import (
    AnswerTooLarge,
    AsyncTransport,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    TransportError,
)

__all__ = ["AiohttpTransport"]

_CONNECTIONS_PER_INSTANCE: Final = 100
_IDLE_SECONDS: Final = 30


class AiohttpTransport(AsyncTransport):
    """Total time is kept by aiohttp, from the look-up of the name to the last byte."""

    def __init__(self) -> None:
        self._open: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None, None]]] = {}

    async def send(self, request: Request) -> Response:
        session = await self._session()
        try:
            async with session.request(
                request.method,
                URL(request.url, encoded=True),  # the client has quoted the path; nothing rewrites it
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                timeout=_limits(request),
            ) as answer:
                content = await _read(answer, request.max_response_bytes)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise _kind(error)(f"{request.url.partition('?')[0]}: {str(error) or type(error).__name__}") from None
        return Response(
            service=request.service,
            status=answer.status,
            headers=Headers(answer.headers.items()),
            content=content,
        )

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            for other in [other for other in self._open if other.is_closed()]:
                self._open.pop(other)[0].detach()
            session = _new_session()
            keeper = self._keep(loop, session)
            self._open[loop] = (session, keeper)
            await anext(keeper)
        return self._open[loop][0]

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession
    ) -> AsyncGenerator[None, None]:
        """Close the session with the loop: asyncio.run() and asgiref end every generator that is still open."""
        try:
            yield
        finally:
            self._open.pop(loop, None)
            await session.close()


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,  # a slow service must not take the connections of the others
            limit_per_host=_CONNECTIONS_PER_INSTANCE,
            keepalive_timeout=_IDLE_SECONDS,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),  # a cookie of one user's call must not go along with another's
        auto_decompress=False,
        middlewares=(_once,),
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
        trust_env=False,  # http_proxy is meant for the world outside
    )


def _limits(request: Request) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=request.timeout,
        sock_connect=request.connect_timeout,
        ceil_threshold=math.inf,  # else times above 5 s are rounded up to whole seconds
    )


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hide a broken connection from aiohttp, which would send GET, PUT and DELETE again by itself, kept or not.

    Whether a request is repeated, and how often, is for the call to decide.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise ConnectionBroken(f"{request.url.with_query(None)}: {str(error) or type(error).__name__}") from None


async def _read(answer: aiohttp.ClientResponse, room: int) -> bytes:
    chunks: list[bytes] = []
    async for chunk in answer.content.iter_any():
        room -= len(chunk)
        if room < 0:
            answer.close()  # the rest will not be read, so the connection can't be used again
            raise AnswerTooLarge(f"{answer.url.with_query(None)}: the answer is too large")
        chunks.append(chunk)
    return b"".join(chunks)


def _kind(error: Exception) -> type[TransportError]:
    if isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError):
        return ConnectFailed
    if isinstance(error, TimeoutError):
        return TimedOut
    return NotHttp if isinstance(error, aiohttp.ClientResponseError) else ConnectionBroken
