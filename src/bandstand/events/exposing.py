"""The worker's own small HTTP server, for those who watch it: ``/metrics``, ``/health/live/`` and ``/health/ready/``.

Off unless ``BANDSTAND_WORKER_PORT`` is set. It listens on the loopback interface unless an address is given: there is
nothing secret in what it says, but nobody outside needs it.
"""

import json
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from bandstand.conf import wire
from bandstand.context import render_metrics
from bandstand.exceptions import ConfigurationError

__all__ = ["Exposure", "parse_address"]

logger: Final = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"
_SLOWEST: Final = 5.0  # seconds that a client may take to say what it wants


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``9100`` or ``0.0.0.0:9100``.

    Raises:
        ConfigurationError: it is neither.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigurationError(f"{wire.WORKER_PORT} is {text!r}; write a port, as 9100, or 0.0.0.0:9100.")
    return host.strip("[]") or _LOOPBACK, int(port)


class Exposure:
    """The server; ``ready`` says whether the worker works now."""

    def __init__(self, address: str, ready: Callable[[], bool]) -> None:
        host, port = parse_address(address)

        class Handler(_Handler):
            is_ready = staticmethod(ready)

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(
                f"The worker can't listen on {host}:{port}, as {wire.WORKER_PORT} says: {error.strerror or error}."
            ) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="bandstand-metrics", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens: of use where the port asked for was 0, which means any."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        logger.info("Metrics of the worker are exposed", extra={"port": self.port})

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = _SLOWEST
    server_version = "bandstand"
    sys_version = ""
    is_ready: Callable[[], bool]

    def do_GET(self) -> None:
        pages: dict[str, Callable[[], tuple[int, bytes, str]]] = {
            "/metrics": self._metrics,
            "/health/live": lambda: _said(200, "alive"),
            "/health/ready": self._ready,
        }
        path = self.path.partition("?")[0]
        page = pages.get(path.rstrip("/"))
        status, body, kind = page() if page else _said(404, "not found")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _metrics(self) -> tuple[int, bytes, str]:
        body, kind = render_metrics()
        return 200, body, kind

    def _ready(self) -> tuple[int, bytes, str]:
        return _said(200, "ready") if self.is_ready() else _said(503, "not ready")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Probes come every few seconds: nobody wants to read of them."""


def _said(status: int, word: str) -> tuple[int, bytes, str]:
    return status, json.dumps({"status": word}).encode(), "application/json"
