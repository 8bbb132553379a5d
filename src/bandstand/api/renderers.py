"""JSON out."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

__all__ = ["JSONRenderer", "to_json"]


class JSONRenderer(BaseRenderer):
    """Writes JSON by msgspec. Decimals are strings, so that no client rounds money; NaN and infinities are null."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8; to say so is against RFC 8259

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - REST framework's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return ``data`` as JSON; None is an empty body."""
        return b"" if data is None else to_json(data)


def _plain(value: Any) -> Any:
    """Make of what msgspec does not know something that it does: lazy texts, kinds of str, mappings, iterables."""
    if isinstance(value, (str, Promise)):
        return str.__str__(value) if isinstance(value, str) else str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form. Give the serializer a field that makes one.")


to_json = msgspec.json.Encoder(enc_hook=_plain, decimal_format="string").encode
