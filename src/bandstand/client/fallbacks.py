"""What is answered in the place of a service that can't be had."""

from typing import Any

import msgspec

from bandstand.client.messages import Headers, Response
from bandstand.client.preparation import encode
from bandstand.exceptions import ServiceCallError

__all__ = ["checked_fallback", "fallback_response"]


def checked_fallback(fallback: Any) -> Any:
    """Return what was declared, if it can be used: whoever finds out only in an outage finds out too late.

    Raises:
        TypeError: the value has no form in JSON.
    """
    if fallback is not msgspec.UNSET and not callable(fallback) and not isinstance(fallback, Response):
        encode(fallback, "The fallback")
    return fallback


def fallback_response(fallback: Any, error: ServiceCallError) -> Response:
    """Return ``fallback`` as the answer to a call that ended in ``error``, marked as such.

    A function is called with the error; what it raises goes to the caller of the call. A ``Response`` is passed on;
    anything else is the JSON of an answer with status 200.

    Raises:
        TypeError: the function returned something that has no form in JSON.
    """
    value = fallback(error) if callable(fallback) else fallback
    if isinstance(value, Response):
        return msgspec.structs.replace(value, fallback=True)
    content = encode(value, f"The fallback for {error.service}")
    headers = Headers([("Content-Type", "application/json")])
    return Response(service=error.service, status=200, headers=headers, content=content, fallback=True)
