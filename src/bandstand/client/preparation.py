"""From what a service asks for to what is sent: path, query, body and headers, checked before any network."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypedDict
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from django.utils.functional import Promise

from bandstand import __version__
from bandstand.client.messages import Headers, header_lines
from bandstand.conf import get_settings, wire
from bandstand.finite import find_non_finite

__all__ = ["SAFE_METHODS", "LoadOptions", "Options", "Order", "encode", "prepare"]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})

_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9/_.~-]*")
_DOT_SEGMENT: Final = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_SAFE_IN_PATH: Final = "/:@!$&'()*+,;=~%"
_SAFE_IN_QUERY: Final = _SAFE_IN_PATH + "?"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_SET_BY_CLIENT: Final = frozenset(
    name.lower()
    for name in (
        *(wire.CORRELATION_ID, wire.REQUEST_TIMEOUT_MS, wire.SERVICE_TOKEN, wire.TRACEPARENT, wire.TRACESTATE),
        wire.DO_NOT_RETRY,
        *("Connection", "Content-Length", "Expect", "Host", "Transfer-Encoding", "Upgrade"),
    )
)

Query = Mapping[str, Any] | Iterable[tuple[str, Any]]


class Options(TypedDict, total=False):
    """What a call may have besides method and path.

    ``json``: the body (Struct, dataclass, dict …; Decimal, UUID and datetime become strings). ``params``: the query;
    lists repeat their name, None is left out. ``headers``: further headers. ``timeout``: seconds for the whole call,
    instead of the policy's. ``idempotency_key``: makes repeating safe, so that failed tries are repeated.
    ``on_behalf_of``: the user's ``Authorization`` header, to be passed on (``"Bearer …"``). ``anonymous``: do not say
    who calls, for what a service shows to everybody and this one may not call otherwise. ``fallback``: what is answered
    when the service can't be had, in place of the client's own: a value, or a function of the error.
    """

    json: Any
    params: Query | None
    headers: Mapping[str, str] | None
    timeout: float | None
    idempotency_key: str | None
    on_behalf_of: str | None
    anonymous: bool
    fallback: Any


class LoadOptions(TypedDict, total=False):
    """What a look-up by ids may have, as in :class:`Options`; ``timeout`` is for each call that it needs."""

    headers: Mapping[str, str] | None
    timeout: float | None
    on_behalf_of: str | None
    anonymous: bool


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is the same in every attempt of one call. ``target`` is path and query, ``lines`` are those of headers."""

    service: str
    method: str
    target: str
    lines: tuple[bytes, ...]
    body: bytes | None
    repeatable: bool
    anonymous: bool = False

    @property
    def path(self) -> str:
        """The path without the query, for logs and errors: a query may hold what is nobody's business."""
        return self.target.partition("?")[0]

    @property
    def headers(self) -> Headers:
        """The lines, by the names of the headers."""
        return Headers(lines=self.lines)

    def __repr__(self) -> str:  # headers hold tokens, bodies hold people
        return f"Order({self.method} {self.path} of {self.service})"


def prepare(service: str, method: str, path: str, options: Options) -> Order:
    """Return the order for a call.

    Raises:
        ValueError: the method, path or a header is not one that may be sent; the text says which and why.
        TypeError: the body or the query holds something that has no form in JSON or in a URL.
    """
    if method not in _METHODS:
        raise ValueError(f"{method!r} is not a method of this client; use one of {', '.join(sorted(_METHODS))}.")
    timeout = options.get("timeout")
    if timeout is not None and not timeout < math.inf:  # NaN is not less either
        raise ValueError(f"timeout is {timeout!r}; write a number of seconds.")
    target = _target(path, options.get("params"))
    json = options.get("json")
    body = None if json is None else encode(json, f"The body of {method} {path} of {service}")
    if body is None and method in _BODY_EXPECTED:
        body = b""
    own, caller = _headers(options, body), get_settings().service
    return Order(
        service=service,
        method=method,
        target=target,
        lines=header_lines(_usual_headers(caller) | own) if own else _usual_lines(caller),
        body=body,
        repeatable=method in SAFE_METHODS or wire.IDEMPOTENCY_KEY in own,
        anonymous=options.get("anonymous", False),
    )


def _target(path: str, params: Query | None) -> str:
    if _PLAIN_PATH.fullmatch(path):
        checked = path
    else:
        if not path.startswith("/"):
            raise ValueError(f"The path {path!r} does not begin with a slash.")
        before, mark, query = path.partition("?")
        checked = quote(before, safe=_SAFE_IN_PATH) + mark + quote(query, safe=_SAFE_IN_QUERY)
    if ("." in checked or "%" in checked) and _DOT_SEGMENT.search(checked.partition("?")[0]):
        raise ValueError(f"The path {path!r} has a dot segment, which leads elsewhere. Quote ids: quote(id, safe='').")
    if not params:
        return checked
    query = urlencode(list(_pairs(params)))
    return f"{checked}{'&' if '?' in checked else '?'}{query}" if query else checked


def _pairs(params: Query) -> Iterator[tuple[str, str]]:
    for name, value in params.items() if isinstance(params, Mapping) else params:
        for one in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            if one is not None:
                yield name, _text(name, one)


def _text(name: str, value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, str | int | float | Decimal | UUID | Promise):
        return str(value)
    raise TypeError(f"The parameter {name!r} is a {type(value).__name__}, which has no form in a URL.")


def _plain(value: Any) -> Any:
    if isinstance(value, Promise):  # Django's lazy texts
        return str(value)
    raise NotImplementedError(f"objects of type {type(value).__name__} have no form in JSON")


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)


def encode(value: Any, name: str) -> bytes:
    """Return ``value`` as JSON; ``name`` says what it is, as the subject of a sentence.

    Raises:
        TypeError: it holds something that has no form in JSON.
    """
    try:
        encoded = _encoder.encode(value)
    except (TypeError, NotImplementedError, ValueError) as error:
        raise TypeError(f"{name} can't be written as JSON: {error}.") from error
    path = find_non_finite(value)
    if path is not None:
        raise TypeError(f"{name} can't be written as JSON: the value at {path or 'its top'} is NaN or infinite.")
    return encoded


def _headers(options: Options, body: bytes | None) -> dict[str, str]:
    """Return the headers that not every call has."""
    headers = {"Content-Type": "application/json"} if body else {}
    for name, value in (options.get("headers") or {}).items():
        headers[_checked_name(name)] = _checked(name, value)
    key = options.get("idempotency_key")
    if key is not None:
        headers[wire.IDEMPOTENCY_KEY] = _checked(wire.IDEMPOTENCY_KEY, key)
    user = options.get("on_behalf_of")
    if user:
        if " " not in user:
            raise ValueError("on_behalf_of is a whole Authorization header, with its scheme: 'Bearer …'.")
        headers["Authorization"] = _checked("Authorization", user)
    return headers


def _checked_name(name: str) -> str:
    if name.lower() in _SET_BY_CLIENT:
        raise ValueError(f"The client sets the header {name} by itself; leave it out.")
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header.")
    return name.title()  # one spelling, so that a header given by hand takes the place of ours


def _checked(name: str, value: str) -> str:
    """A line break in a value would begin a header of the attacker's choice."""
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"The value of the header {name} is empty or has characters that a header can't hold.")
    return value


@lru_cache(maxsize=8)
def _usual_lines(service: str) -> tuple[bytes, ...]:
    return header_lines(_usual_headers(service))


def _usual_headers(service: str) -> dict[str, str]:
    return {
        "Accept": "application/json, application/problem+json",
        "User-Agent": f"{service} bandstand/{__version__}",
    }
