"""The OpenAPI document, made from REST framework's views and completed with the parts that all endpoints share.

Each operation has a summary, its possible statuses, and an example of each body. They are derived from docstrings,
permissions, throttles and fields. Services add only information that code does not show: the errors of an action
(:func:`bandstand.api.raises`), and typical values of a field (``examples`` on a serializer).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from drf_spectacular.drainage import get_override
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.serializers import BaseSerializer, ListSerializer

from bandstand.api.examples import Omitted, example_of
from bandstand.api.idempotency import KeyInFlight, KeyInvalid, KeyMissing, KeyReused, is_idempotent
from bandstand.api.problems import PROBLEM_TYPE, Problem, generic_problem
from bandstand.api.raising import raised_by
from bandstand.api.translation import problem_for
from bandstand.conf import wire

__all__ = ["ListBounds", "ProblemAutoSchema", "describe_problems"]

_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_RETRY_AFTER: Final = {"description": "Seconds to wait before another try.", "schema": {"type": "integer"}}

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
        "correlation_id": {
            "type": ["string", "null"],
            "description": "Finds the request in the logs of all services; null where the gateway could not read it.",
        },
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldFault"}},
    },
}

_SUMMARIES: Final = {
    "list": "List {names}",
    "create": "Create {a_name}",
    "retrieve": "Retrieve {a_name}",
    "update": "Replace {a_name}",
    "partial_update": "Change {a_name}",
    "destroy": "Delete {a_name}",
}
_SENTENCE: Final = re.compile(r"(.+?)(?:\.(?=\s+[^a-z\s]|\s*$)|[;:]\s|\n\n|$)", re.DOTALL)
_FRAMEWORKS: Final = ("rest_framework", "django")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH"})

_ALWAYS: Final = (400, 406, 500, 503, 504)
_OF_BODIES: Final = (411, 413, 415)
_FOR_KEYS: Final = (KeyMissing, KeyInvalid, KeyInFlight, KeyReused)
_OPEN_TO_USERS: Final = (AllowAny, IsAuthenticated)  # these never answer 403


class ProblemAutoSchema(AutoSchema):
    """Adds summaries, examples, the statuses of problems, and the header ``Idempotency-Key`` where a view takes it."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the operation with a response for each problem that can come."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None:
            for status, response in operation["responses"].items():
                response["description"] = response["description"] or HTTPStatus(int(status)).phrase
            for number, problem in self._problems():
                operation["responses"].setdefault(str(number), problem)
        return operation

    def get_summary(self) -> str | None:
        """Return the first sentence of the method's docstring, or a text from the names of action and objects."""
        doc = get_doc(self._handler) if not _is_foreign(self._handler) else ""
        if doc:
            sentence = _SENTENCE.match(doc)
            return " ".join(sentence[1].split()) if sentence else None
        name, names = _names(self.view)
        action = getattr(self.view, "action", None) or self.method.lower()
        text = _SUMMARIES.get(action, action.replace("_", " ").capitalize())
        return text.format(names=names, a_name=f"{'an' if name[0] in 'aeio' else 'a'} {name}")

    def get_examples(self) -> list[OpenApiExample]:
        """Return an example of the request body, and one of each response body."""
        examples: list[OpenApiExample] = []
        if self.method in _WRITES:
            examples += _examples(self.get_request_serializer(), for_request=True)
        answers: Any = self.get_response_serializers()
        for status, answer in answers.items() if isinstance(answers, dict) else [(None, answers)]:
            examples += _examples(answer, for_request=False, status=status)
        return examples

    def get_override_parameters(self) -> list[Any]:
        """Return the parameters that the view's code does not show."""
        handler = self._handler
        if not is_idempotent(handler):
            return []
        return [
            OpenApiParameter(
                name=wire.IDEMPOTENCY_KEY,
                location=OpenApiParameter.HEADER,
                required=bool(handler.idempotency_required),
                description="A value of your own, the same in each repetition of one request.",
                type={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"},
            )
        ]

    @property
    def _handler(self) -> Any:
        return getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)

    def _problems(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each possible status of a problem, with its response."""
        special: dict[int, list[Problem]] = defaultdict(list)
        errors = (*(_FOR_KEYS if is_idempotent(self._handler) else ()), *raised_by(self._handler))
        for problem in filter(None, map(problem_for, errors)):
            special[problem.status].append(problem)
        for status in sorted({*self._common_statuses(), *special}):
            yield status, _response(status, special[status]) if special[status] else _reference(status)

    def _common_statuses(self) -> Iterable[int]:
        yield from _ALWAYS
        if self.method in _WRITES:
            yield from _OF_BODIES
        if self.method in {*_WRITES, "DELETE"}:
            yield 409
        if self.view.get_authenticators():
            yield 401
        if any(type(permission) not in _OPEN_TO_USERS for permission in self.view.get_permissions()):
            yield 403
        if "{" in self.path or self._is_paged():
            yield 404
        if self.view.get_throttles():
            yield 429

    def _is_paged(self) -> bool:
        return self.method == "GET" and getattr(self.view, "paginator", None) is not None


class ListBounds(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call] # registers itself there
    """Adds the least and greatest length of nested lists, which drf-spectacular leaves out."""

    target_class = "rest_framework.serializers.ListSerializer"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> Any:
        """Return the schema of the list."""
        field: Any = self.target
        plain: Any = auto_schema._map_serializer_field  # noqa: SLF001 - as drf-spectacular documents it for extensions
        schema = plain(field, direction, bypass_extensions=True)
        if schema is None or direction != "request":
            return schema
        least = max(field.min_length or 0, 0 if field.allow_empty else 1)
        bounds = {"minItems": least or None, "maxItems": field.max_length}
        return {**schema, **{name: bound for name, bound in bounds.items() if bound is not None}}


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the problem document, and its response for each status in use (a postprocessing hook of drf-spectacular)."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {}).update(Problem=_PROBLEM, FieldFault=_FIELD_FAULT)
    operations = [
        operation
        for path in result.get("paths", {}).values()
        for operation in path.values()
        if isinstance(operation, dict) and "responses" in operation
    ]
    statuses = {int(status) for operation in operations for status in operation["responses"] if int(status) >= 400}
    responses = components.setdefault("responses", {})
    responses.update({_component(status): _response(status, [generic_problem(status)]) for status in sorted(statuses)})
    return result


def _response(status: int, problems: Iterable[Problem]) -> dict[str, Any]:
    """Return a response with an example for each problem."""
    problems = list(problems)
    examples = {problem.code: {"summary": problem.detail, "value": _document(problem)} for problem in problems}
    description = " ".join(dict.fromkeys(problem.detail for problem in problems))
    return {
        "description": description,
        "content": {PROBLEM_TYPE: {"schema": _REFERENCE, "examples": examples}},
        **({"headers": {"Retry-After": _RETRY_AFTER}} if status in {429, 503} else {}),
    }


def _document(problem: Problem) -> dict[str, Any]:
    document = problem.document("/api/v1/path/")
    return {**document, "correlation_id": "0af7651916cd43dd8448eb211c80319c"}


def _reference(status: int) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/{_component(status)}"}


def _component(status: int) -> str:
    return "".join(word.capitalize() for word in HTTPStatus(status).name.split("_"))


def _examples(answer: Any, *, for_request: bool, status: Any = None) -> Iterator[OpenApiExample]:
    serializer = answer.response if isinstance(answer, OpenApiResponse) else answer
    if isinstance(serializer, type) and issubclass(serializer, BaseSerializer):
        serializer = serializer()
    if isinstance(serializer, ListSerializer):
        serializer = serializer.child  # drf-spectacular makes a list or a page of it
    if not isinstance(serializer, BaseSerializer):
        return
    written = get_override(serializer, "examples", [])
    if written:
        yield from written
        return
    try:
        value = example_of(serializer, for_request=for_request)
    except Omitted:
        return
    yield OpenApiExample(
        "Example",
        value=value,
        request_only=for_request,
        response_only=not for_request,
        status_codes=None if status is None else [str(status)],
    )


def _names(view: Any) -> tuple[str, str]:
    """Return the name of the view's objects, in the singular and in the plural."""
    rows = getattr(view, "queryset", None)
    if rows is not None:
        options = rows.model._meta  # noqa: SLF001 - Django's documented model API
        return str(options.verbose_name), str(options.verbose_name_plural)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"(ViewSet|APIView|View)$", "", type(view).__name__)).lower()
    return words or "object", f"{words or 'object'}s"


def _is_foreign(handler: Any) -> bool:
    return str(getattr(handler, "__module__", "")).partition(".")[0] in _FRAMEWORKS
