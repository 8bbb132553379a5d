"""Which request a key belongs to: who asked, where, and for what."""

import hashlib
from typing import Any, Final

import msgspec
from rest_framework.request import Request

from bandstand.context import current

__all__ = ["Identity", "identity_of"]

_LONGEST: Final = 255


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its scope, and the digest of the request that it was sent with."""

    caller: str
    route: str
    key: str
    fingerprint: str

    def lock_number(self) -> int:
        """Return a signed 64-bit number for the scope and key, the same in every process."""
        digest = hashlib.sha256("\0".join(("idempotency", self.caller, self.route, self.key)).encode()).digest()
        return int.from_bytes(digest[:8], signed=True)


def identity_of(request: Request, key: str) -> Identity:
    """Return the identity of ``request``: one caller's keys mean nothing on another route or for another caller."""
    match = request.resolver_match
    route = f"{request.method} {match.route if match else request.path}"
    return Identity(
        caller=_fitting(_caller(request)), route=_fitting(route), key=key, fingerprint=_fingerprint(request)
    )


def _caller(request: Request) -> str:
    """Both, where a service asks on behalf of a user: each of the two makes keys of its own."""
    user: Any = request.user  # None where a service is set to have no anonymous user
    parts = []
    if service := current().service:
        parts.append(f"service:{service}")
    if getattr(user, "is_authenticated", False):
        parts.append(f"user:{user.pk}")
    return "/".join(parts) or "anonymous"


def _fingerprint(request: Request) -> str:
    """Return a digest of the request, in which the order of keys and the white space of a JSON body do not count."""
    data: Any = request.data
    try:
        body = msgspec.json.encode(data, order="sorted")
    except TypeError:  # a form with files
        body = request.body
    query = str(request.META.get("QUERY_STRING", ""))
    parts = (str(request.method).encode(), _target(request).encode(), query.encode(errors="surrogateescape"), body)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _target(request: Request) -> str:
    """Return the route and its converted arguments, so that a UUID in capital letters names the same object."""
    match = request.resolver_match
    if match is None:
        return request.path
    return (
        f"{match.route} {[*map(str, match.args)]} {sorted((name, str(value)) for name, value in match.kwargs.items())}"
    )


def _fitting(text: str) -> str:
    return text if len(text) <= _LONGEST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
