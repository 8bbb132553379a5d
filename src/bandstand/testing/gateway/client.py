"""Requests to a gateway, as bytes on a socket where the rules of an HTTP library would be in the way."""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

__all__ = ["Answer", "GatewayClient"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers (small letters; of equal names the last) and body of an answer."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def received(self, name: str) -> list[str]:
        """The values of a header that reached the service."""
        return [value for header, value in self.json()["headers"] if header == name]


_PATIENCE: Final = 120.0  # seconds after which a test whose gateway is silent ends; none is judged by it


class GatewayClient:
    """Asks one gateway; each request has a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 80

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        source: str = "",
    ) -> Answer:
        """Send one request; a body that is an iterable goes out in chunks. ``source`` is the client's own address."""
        address = (source, 0) if source else None
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_PATIENCE, source_address=address)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            return _answer(connection.getresponse())
        except (BrokenPipeError, ConnectionResetError):
            # The gateway answered and closed while the body was still on its way.
            return _answer(_response_of(connection))
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.request("POST", path, **options)

    def raw(self, request: bytes) -> Answer:
        """Send exactly these bytes and read one answer."""
        with socket.create_connection((self.host, self.port), timeout=_PATIENCE) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return _answer(response)


def _response_of(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    return response


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=headers, body=response.read())
