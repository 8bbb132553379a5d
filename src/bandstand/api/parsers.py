"""JSON in, for views."""

from collections.abc import Mapping
from typing import IO, Any

from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from bandstand.api.strict_json import InvalidJSON, read_json
from bandstand.conf import get_settings

__all__ = ["StrictJSONParser"]


class BodyTooLarge(APIException):
    """The body is larger than ``BANDSTAND["API"]["MAX_BODY_BYTES"]``, and no middleware stood before the view."""

    status_code = 413
    default_code = "body_too_large"
    default_detail = "The body is larger than this service takes."


class StrictJSONParser(BaseParser):
    """Reads JSON and refuses what readers of JSON do not agree on: see ``bandstand.api.strict_json``."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002 - REST framework's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the value in ``stream``.

        Raises:
            ParseError: with the reason as its code.
            BodyTooLarge: it has more bytes than the limit.
        """
        limits = get_settings().api
        try:
            body = stream.read(limits.max_body_bytes + 1)
        except UnreadablePostError:
            raise ParseError("The connection ended before the whole body arrived.", code="body_unreadable") from None
        if len(body) > limits.max_body_bytes:
            raise BodyTooLarge
        try:
            return read_json(body, max_depth=limits.max_json_depth)
        except InvalidJSON as error:
            raise ParseError(str(error), code=error.code) from None
