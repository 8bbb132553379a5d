"""A small service behind the gateway. It answers what it received, and misbehaves when the query asks for it."""

import json
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Upstream"]


class Upstream:
    """One instance of a service, on a free port unless told; ``calls`` counts requests by the ``key`` in their query.

    The query asks for: ``status=503`` (with ``times=1`` only for the first calls of the key), ``sleep`` in seconds,
    ``reset=1`` (close the connection without an answer, ``times`` as above), ``size`` of the answer in bytes. An
    instance with a ``status`` of its own gives that to everybody.
    """

    def __init__(self, name: str, *, status: int = 200, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.status = status
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server((host, port), _handler(self))
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, key: str) -> int:
        with self._lock:
            self.calls[key] += 1
            return self.calls[key]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway that gives up on an answer is a part of the tests."""


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def answer(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            times = upstream.count(query.get("key", ""))
            wrong = times <= int(query.get("times", "1000000"))
            time.sleep(float(query.get("sleep", "0")) if wrong else 0)
            if wrong and "reset" in query:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status = int(query.get("status", upstream.status)) if wrong else 200
            self.reply(status, body, int(query.get("size", "0")))

        def reply(self, status: int, body: bytes, size: int) -> None:
            headers = [[name.lower(), value] for name, value in self.headers.items()]
            seen = {"service": upstream.name, "method": self.command, "path": self.path, "headers": headers}
            content = json.dumps({**seen, "body_bytes": len(body), "padding": "x" * size}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command != "HEAD" else b"")

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *args: Any) -> None:
            """The test reads answers, not logs."""

    return Handler
