"""libcurl: one handle for each thread, which keeps its connections open between calls.

A handle must not be used after a fork, where parent and child would write into the same connections: a child begins
with handles of its own, and leaves the parent's alone.
"""

import os
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

import pycurl

from bandstand.client.messages import Headers, Request, Response
from bandstand.client.transports.base import (
    AnswerTooLarge,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    Transport,
    TransportError,
)

__all__ = ["CurlTransport"]

_CONNECTIONS: Final = 64  # kept open by one thread, for all instances of all services
_IDLE_SECONDS: Final = 30  # a connection that was not used for longer is not used again: its server may just close it

# What libcurl adds to a body by itself: `Expect: 100-continue`, for which a large one waits a second at most servers,
# and the type of a form. A name that stands here and further on in the list is sent with the value further on.
_REMOVED: Final = (b"Expect:", b"Content-Type:")

_NOT_CONNECTED: Final = {
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
}
_NOT_HTTP: Final = {
    pycurl.E_UNSUPPORTED_PROTOCOL,  # also said of an answer without a status line
    8,  # CURLE_WEIRD_SERVER_REPLY, which pycurl knows by its old name only
    100,  # CURLE_TOO_LARGE: the headers
}


class CurlTransport(Transport):
    """Total time is kept by libcurl itself, from the look-up of the name to the last byte."""

    def __init__(self) -> None:
        self._local = threading.local()
        _transports.add(self)

    def send(self, request: Request) -> Response:
        try:
            line: _Line = self._local.line
        except AttributeError:
            line = self._local.line = _Line()
        return line.send(request)

    def begin_anew(self) -> None:
        """Leave all connections to the parent, in a child after a fork."""
        _inherited.append(self._local)
        self._local = threading.local()


class _Line:
    """One handle with its connections, used by one thread of one process. What does not change is not set again."""

    def __init__(self) -> None:
        self._answer = _Answer()
        self._guarded = False
        self._plain = False  # the call before was a GET without a body
        self._timeout = 0  # milliseconds
        self._connect_timeout = 0.0
        self._handle = handle = pycurl.Curl()
        self._setopt: Callable[[int, Any], None] = handle.setopt
        handle.setopt(pycurl.NOSIGNAL, 1)  # signals and threads don't mix
        handle.setopt(pycurl.PROXY, "")  # http_proxy is meant for the world outside
        handle.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        handle.setopt(pycurl.MAXCONNECTS, _CONNECTIONS)
        handle.setopt(pycurl.MAXAGE_CONN, _IDLE_SECONDS)
        handle.setopt(pycurl.WRITEFUNCTION, self._answer.take)
        handle.setopt(pycurl.HEADERFUNCTION, self._answer.lines.append)
        # libcurl's wheel has a place for certificates compiled in that most machines don't have.
        authorities = ssl.get_default_verify_paths()
        if authorities.cafile:
            handle.setopt(pycurl.CAINFO, authorities.cafile)
        if authorities.capath:
            handle.setopt(pycurl.CAPATH, authorities.capath)

    def send(self, request: Request) -> Response:
        handle, answer = self._handle, self._answer
        self._describe(request)
        try:
            handle.perform()
            return Response(
                service=request.service,
                status=handle.getinfo(pycurl.RESPONSE_CODE),
                headers=Headers(lines=tuple(answer.lines)),
                content=b"".join(answer.chunks),
            )
        except pycurl.error as error:
            raise self._failure(request, *error.args) from None
        finally:  # nothing is kept until the next request
            answer.lines.clear()
            answer.chunks.clear()

    def _describe(self, request: Request) -> None:
        setopt = self._setopt
        setopt(pycurl.URL, request.url)
        if request.method != "GET" or request.body is not None or not self._plain:
            self._describe_method(request)
        headers = request.headers if isinstance(request.headers, Headers) else Headers(request.headers.items())
        setopt(pycurl.HTTPHEADER, headers.lines if request.body is None else [*_REMOVED, *headers.lines])
        timeout = _milliseconds(request.timeout)
        if timeout != self._timeout:
            self._timeout = timeout
            setopt(pycurl.TIMEOUT_MS, timeout)
        if request.connect_timeout != self._connect_timeout:
            self._connect_timeout = request.connect_timeout
            setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(request.connect_timeout))
        self._answer.room = request.max_response_bytes
        if not request.repeatable:
            self._answer.sent = False
        if self._guarded == request.repeatable:
            self._guarded = not request.repeatable
            setopt(pycurl.PREREQFUNCTION, self._answer.once if self._guarded else None)

    def _describe_method(self, request: Request) -> None:
        setopt = self._setopt
        setopt(pycurl.HTTPGET, 1)  # forgets the body and the NOBODY of the call before
        if request.method == "HEAD":
            setopt(pycurl.NOBODY, 1)
        elif request.body is not None:
            setopt(pycurl.POSTFIELDS, request.body)
        setopt(pycurl.CUSTOMREQUEST, request.method)
        self._plain = request.method == "GET" and request.body is None

    def _failure(self, request: Request, number: int, text: str) -> TransportError:
        return self._kind(number)(f"{request.url.partition('?')[0]}: {text} (libcurl {number})")

    def _kind(self, number: int) -> type[TransportError]:
        if number in _NOT_CONNECTED:
            return ConnectFailed
        if number == pycurl.E_OPERATION_TIMEDOUT:
            return TimedOut if self._handle.getinfo(pycurl.REQUEST_SIZE) else ConnectFailed
        if number == pycurl.E_WRITE_ERROR and self._answer.room < 0:
            return AnswerTooLarge
        return NotHttp if number in _NOT_HTTP else ConnectionBroken


class _Answer:
    """What libcurl calls while a request runs. It doesn't know its handle: a cycle would keep connections open."""

    __slots__ = ("chunks", "lines", "room", "sent")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.chunks: list[bytes] = []
        self.room = 0
        self.sent = False

    def take(self, chunk: bytes) -> int | None:
        """Collect the body; another number than the chunk's length makes libcurl stop."""
        self.room -= len(chunk)
        if self.room < 0:
            return 0
        self.chunks.append(chunk)
        return None

    def once(self, *_: object) -> int:
        """Let the request out once.

        libcurl sends a request again, of whatever method, when a kept connection ends before the first byte of the
        answer. A server that died in the middle of the work looks just like that.
        """
        if self.sent:
            return int(pycurl.PREREQFUNC_ABORT)
        self.sent = True
        return int(pycurl.PREREQFUNC_OK)


_transports: Final[WeakSet[CurlTransport]] = WeakSet()

# Handles that came along through a fork. They are kept, since closing one says goodbye (TLS) on a connection that is
# still the parent's.
_inherited: Final[list[threading.local]] = []


def _forked() -> None:
    for each in _transports:
        each.begin_anew()


os.register_at_fork(after_in_child=_forked)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000 + 0.5) or 1  # 0 would mean: without end
