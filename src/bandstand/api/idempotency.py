"""Writes that are safe to repeat, after the IETF draft "The Idempotency-Key HTTP Header Field".

The key, its answer and the effect are committed together or not at all: a client that repeats a request after a crash
gets the first answer, or has the work done for the first time. There is no third case.
"""

import functools
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar, overload

from django.db import router, transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from bandstand.api import idempotency_table as table
from bandstand.api.idempotency_identity import Identity, identity_of
from bandstand.api.models import IdempotencyRecord
from bandstand.api.purging import delete_oldest
from bandstand.api.renderers import to_json
from bandstand.conf import get_settings, wire

__all__ = ["Idempotent", "idempotent", "is_idempotent", "purge_expired"]

_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')  # a String of RFC 9651, section 3.3.3
_ESCAPE: Final = re.compile(r'\\(["\\])')
_KEPT_HEADERS: Final = ("Location", "ETag", "Content-Language")
_PURGE_ONE_IN: Final = 200
_PURGE_ROWS: Final = 1000

Handler = TypeVar("Handler", bound=Callable[..., Any])
Prepare = Callable[..., Any]


class KeyMissing(APIException):
    """The route requires a key."""

    status_code = 400
    default_code = "idempotency_key_missing"
    default_detail = f"Send the header {wire.IDEMPOTENCY_KEY} with a value of your own, the same in each repetition."


class KeyInvalid(APIException):
    """The key breaks the rule."""

    status_code = 400
    default_code = "idempotency_key_invalid"
    default_detail = (
        f"{wire.IDEMPOTENCY_KEY} is 1 to 255 printable ASCII characters, without a space at either end. "
        'In quotes it is a String of RFC 9651, in which \\ stands before " and \\.'
    )


class KeyInFlight(APIException):
    """The first request with this key is not answered yet."""

    status_code = 409
    default_code = "idempotency_key_in_flight"
    default_detail = "A request with this key is being worked on. Repeat it later to get its answer."
    wait = 1


class KeyReused(APIException):
    """The key belongs to another request."""

    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "This key was used for a request with another content. Take a new key for a new request."


@overload
def idempotent(handler: Handler) -> Handler: ...
@overload
def idempotent(*, required: bool = True, prepare: Prepare | None = None) -> Callable[[Handler], Handler]: ...
def idempotent(handler: Any = None, *, required: bool = True, prepare: Prepare | None = None) -> Any:
    """Make a view's method safe to repeat: ``@idempotent`` or ``@idempotent(required=False)`` above ``create``.

    The method runs in a transaction. Its answer is kept with the key when it succeeded (status below 400); an error
    undoes everything, the key with it, so that the client may try again. What the method does outside the database
    is not undone: leave that to events. With ``required=False`` a request without a key just runs.

    ``prepare(view, request, …)`` is for what must not happen inside a transaction, such as asking other services. It
    runs before one begins, and only where the key has no answer yet, so that a repetition is answered also while the
    others are down. The method gets its result as the keyword argument ``prepared``.

    Raises (as problem answers):
        400 key missing or malformed, 409 first request in flight, 422 key used for another request.
    """
    if handler is None:
        return functools.partial(idempotent, required=required, prepare=prepare)

    @functools.wraps(handler)
    def repeatable(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = _key(request, required=required)
        identity = None if key is None else identity_of(request, key)
        answered = None if identity is None or prepare is None else _answered(identity)
        if identity is not None and answered is not None:
            return _replay(answered, identity)
        if prepare is not None:
            kwargs["prepared"] = prepare(view, request, *args, **kwargs)
        work = functools.partial(handler, view, request, *args, **kwargs)
        return work() if identity is None else _once(identity, work)

    repeatable.idempotency_required = required  # type: ignore[attr-defined]
    return repeatable


def is_idempotent(handler: Any) -> bool:
    """Say whether a view's method is decorated with :func:`idempotent`."""
    return hasattr(handler, "idempotency_required")


class Idempotent:
    """Makes ``create`` of a viewset safe to repeat, also one that the viewset writes itself.

    ::

        class OrderViewSet(Idempotent, ModelViewSet): ...

    ``idempotent_actions`` names the methods, ``idempotency_required`` says whether a key must be sent.
    """

    idempotent_actions: ClassVar[tuple[str, ...]] = ("create",)
    idempotency_required: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.idempotent_actions:
            handler = getattr(cls, name, None)
            if handler is not None and not is_idempotent(handler):
                setattr(cls, name, idempotent(required=cls.idempotency_required)(handler))


def purge_expired(*, now: datetime | None = None, limit: int = _PURGE_ROWS) -> int:
    """Delete at most ``limit`` rows whose time is over; return how many."""
    using = router.db_for_write(IdempotencyRecord)
    expired = IdempotencyRecord.objects.using(using).filter(expires_at__lte=now or timezone.now())
    return delete_oldest(expired, "expires_at", limit)


def _key(request: Request, *, required: bool) -> str | None:
    """Return the key, or None where none was sent and none is required.

    Raises:
        KeyMissing: none was sent.
        KeyInvalid: what was sent is not a key. An empty header is none either: who sends one means to be protected.
    """
    raw = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if raw is None and not required:
        return None
    if required and not (raw or "").strip():
        raise KeyMissing
    key = _unquoted(str(raw).strip())
    if key is None or _KEY.fullmatch(key) is None:
        raise KeyInvalid
    return key


def _unquoted(raw: str) -> str | None:
    """Return the text of a header that is a quoted string, as the draft writes it, or is not quoted at all."""
    if not raw.startswith('"'):
        return raw
    quoted = _QUOTED.fullmatch(raw)
    return None if quoted is None else _ESCAPE.sub(r"\1", quoted[1])


def _once(identity: Identity, work: Callable[[], Any]) -> Any:
    """Do ``work`` under its key, or return the answer that it had."""
    using = router.db_for_write(IdempotencyRecord)
    with transaction.atomic(using=using):
        record = _claim(using, identity)
        if record is not None:
            return _replay(record, identity)
        answer = work()
        if answer.status_code >= 400:
            transaction.set_rollback(True, using=using)
            return answer
        table.complete(using, identity, **_content(answer))
        if random.randrange(_PURGE_ONE_IN) == 0:  # noqa: S311 - spreads the work, keeps no secret
            transaction.on_commit(purge_expired, using=using, robust=True)
    return answer


def _answered(identity: Identity) -> IdempotencyRecord | None:
    """Return the row of the key when its request was answered and is remembered."""
    record = table.find(router.db_for_write(IdempotencyRecord), identity)
    return record if record is not None and record.expires_at > timezone.now() else None


def _claim(using: str, identity: Identity) -> IdempotencyRecord | None:
    """Write the row in flight, or return the completed one that is there.

    Raises:
        KeyInFlight: another transaction is writing the row.
    """
    now = timezone.now()
    expires_at = now + timedelta(seconds=get_settings().api.idempotency_retention)
    claim = functools.partial(table.claim, using, identity, now=now, expires_at=expires_at)
    if claim():
        return None
    record = table.find(using, identity)
    if record is not None and record.expires_at > now:
        return record
    if record is not None and table.delete(using, record) and claim():
        return None
    raise KeyInFlight


def _replay(record: IdempotencyRecord, identity: Identity) -> HttpResponse:
    if record.fingerprint != identity.fingerprint:
        raise KeyReused
    if record.state != IdempotencyRecord.State.COMPLETED:
        raise KeyInFlight  # written by this very transaction: the view calls itself
    content_type = record.headers.get("Content-Type", "application/json")
    response = HttpResponse(bytes(record.body or b""), status=record.status, content_type=content_type)
    for name in _KEPT_HEADERS:
        if name in record.headers:
            response.headers[name] = record.headers[name]
    response.headers[wire.IDEMPOTENCY_REPLAYED] = "true"
    return response


def _content(answer: Any) -> dict[str, Any]:
    """What of an answer is kept."""
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    if isinstance(answer, Response):
        body = b"" if answer.data is None else to_json(answer.data)
        headers["Content-Type"] = answer.content_type or "application/json"
    else:
        body = answer.content
        headers["Content-Type"] = answer.headers["Content-Type"]
    return {"status": answer.status_code, "headers": headers, "body": body}
