"""The OpenAPI document: what REST framework's views say, with what every endpoint has in common."""

from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from bandstand.api.idempotency import is_idempotent
from bandstand.api.problems import PROBLEM_TYPE
from bandstand.conf import wire

__all__ = ["ProblemAutoSchema", "describe_problems"]

_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}

_FIELD_FAULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["field", "message", "code"],
    "properties": {
        "field": {"type": "string", "description": "Path of the field with dots; empty: the whole body."},
        "message": {"type": "string"},
        "code": {"type": "string"},
    },
}

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "service", "correlation_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "For people; may change."},
        "instance": {"type": "string", "format": "uri-reference"},
        "code": {"type": "string", "description": "For programs; never changes."},
        "service": {"type": "string", "description": "The service that says so."},
        "correlation_id": {"type": "string", "description": "Finds the request in the logs of all services."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldFault"}},
    },
}


class ProblemAutoSchema(AutoSchema):
    """Adds the header ``Idempotency-Key`` where a view takes it."""

    def get_override_parameters(self) -> list[Any]:
        """Return the parameters that the view's code does not show."""
        handler = getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)
        if not is_idempotent(handler):
            return []
        return [
            OpenApiParameter(
                name=wire.IDEMPOTENCY_KEY,
                location=OpenApiParameter.HEADER,
                required=bool(handler.idempotency_required),  # type: ignore[union-attr]
                description="A value of your own, the same in each repetition of one request.",
                type={"type": "string", "minLength": 1, "maxLength": 255},
            )
        ]


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the problem document as the default answer of each operation (a postprocessing hook of drf-spectacular)."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(Problem=_PROBLEM, FieldFault=_FIELD_FAULT)
    answer = {"description": "What went wrong.", "content": {PROBLEM_TYPE: {"schema": _REFERENCE}}}
    for path in result.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"].setdefault("default", answer)
    return result
