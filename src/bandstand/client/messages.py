"""What goes to another service and what comes back."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

import msgspec

from bandstand.exceptions import ServiceResponseError
from bandstand.structs import build_type

__all__ = ["Headers", "Request", "Response", "header_lines"]

T = TypeVar("T")

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last of what is nested too deeply
_JSON: Final = re.compile(r"\s*application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


class Headers(Mapping[str, str]):
    """Headers: names without case, repeated ones joined by a comma (RFC 9110, section 5.3)."""

    __slots__ = ("_lines", "_values")

    def __init__(self, pairs: Iterable[tuple[str, str]] = (), *, lines: Sequence[bytes] | None = None) -> None:
        """Take pairs of name and value, or lines, which are read when somebody asks for a header."""
        self._lines = lines
        self._values: dict[str, str] | None = _joined(pairs) if lines is None else None

    @property
    def lines(self) -> Sequence[bytes]:
        """The headers as they are on the wire: those that were given, or one for each name."""
        if self._lines is None:
            self._lines = header_lines(self)
        return self._lines

    def _read(self) -> dict[str, str]:
        if self._values is None:
            self._values = _joined(_pairs(self._lines or ()))
        return self._values

    def __getitem__(self, name: str) -> str:
        return self._read()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"  # names only: values may be secrets


def header_lines(headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return headers as they are on the wire, without the ends of lines.

    Raises:
        UnicodeEncodeError: a value is not ASCII.
    """
    return tuple([f"{name}: {value}".encode("ascii") for name, value in headers.items()])


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        values[key] = f"{values[key]}, {value}" if key in values else value
    return values


def _pairs(lines: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """The last response's: what stands before a further status line belongs to an interim answer (100, 103)."""
    last = max((number for number, line in enumerate(lines) if line.startswith(b"HTTP/")), default=-1)
    for line in lines[last + 1 :]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            yield name.strip(), value.strip()


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt, ready to be sent to one instance. Times in seconds.

    ``repeatable`` says whether the same bytes may reach the service twice: a transport must not repeat others, not even
    when a kept connection turns out to be dead.
    """

    service: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    connect_timeout: float
    max_response_bytes: int
    repeatable: bool

    def __repr__(self) -> str:  # headers hold tokens, bodies hold people
        return f"Request({self.method} {self.url.partition('?')[0]})"


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What ``service`` answered: ``status`` below 400, ``headers`` with names without case, ``content`` as bytes.

    ``fallback``: it is not the service that answered, but what was declared for the case that it can't be had.
    """

    service: str
    status: int
    headers: Headers
    content: bytes
    fallback: bool = False

    def __repr__(self) -> str:
        what = "fallback for" if self.fallback else "of"
        return f"Response({self.status} {what} {self.service}, {len(self.content)} bytes)"

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...

    def json(self, type: Any = Any) -> Any:  # noqa: A002 - msgspec's own word
        """Return the decoded body, checked against ``type`` if one is given (a Struct, ``list[Product]`` …).

        Raises:
            ServiceResponseError: the body is not JSON, or is not of that type.
        """
        build_type(type)
        try:
            return msgspec.json.decode(self.content, type=type)
        except _UNREADABLE as error:
            raise ServiceResponseError(
                f"{self.service} answered {self.status}, but its body can't be used: {error}.",
                service=self.service,
                status=self.status,
            ) from error

    def problem(self) -> dict[str, object]:
        """Return the problem document (RFC 9457) or other JSON object that tells of an error; else an empty dict."""
        if not _JSON.match(self.headers.get("content-type", "")):
            return {}
        try:
            return msgspec.json.decode(self.content, type=dict[str, object])
        except _UNREADABLE:
            return {}
