"""What holds for a service as a whole, asked of Django's own commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, Final

import jsonschema
from django.conf import settings
from django.core.management import call_command

from bandstand.conf import wire

__all__ = ["deployment_faults", "manage", "openapi_document", "openapi_faults"]

_ANY_STATUS: Final = "default"


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the service's ``manage.py`` as a process, in the environment of the tests with ``variables`` changed."""
    module = import_module(settings.SETTINGS_MODULE)
    folder = Path(str(module.__file__)).parents[1]
    command = [sys.executable, "manage.py", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def deployment_faults() -> str:
    """Return what ``check --deploy`` says against the service in production, warnings too; empty when there is nothing.

    Every variable is that of the tests but for the broker, the cache and the mail server, which in production are not
    in memory. The check connects to none of them.
    """
    outside = {
        wire.BROKER_URL: "nats://user:secret@localhost:4222",
        wire.CACHE_URL: "redis://localhost:6379",
        wire.EMAIL_URL: "smtp://localhost:25",
    }
    check = manage("check", "--deploy", "--fail-level", "WARNING", **outside)
    return "" if check.returncode == 0 else check.stdout + check.stderr


def openapi_document() -> dict[str, Any]:
    """Return the service's OpenAPI document.

    Raises:
        CommandError: it is not valid, or was not made without a warning.
    """
    output = StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, format="openapi-json", stdout=output)
    document: dict[str, Any] = json.loads(output.getvalue())
    return document


def openapi_faults(document: dict[str, Any]) -> list[str]:
    """Return the faults of an OpenAPI document, a sentence for each: the list should be empty.

    Each operation needs a summary, the statuses that can come instead of ``default``, and an example of each body that
    the schema of the body allows.
    """
    return [
        f"{method.upper()} {path}: {fault}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict) and "responses" in operation
        for fault in _operation_faults(operation, document)
    ]


def _operation_faults(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    if not operation.get("summary"):
        yield "it has no summary. Write a docstring for the method."
    if _ANY_STATUS in operation["responses"]:
        yield "it has one answer for all statuses."
    bodies = {"the request": operation.get("requestBody", {})}
    bodies |= {f"the answer {status}": _resolved(each, document) for status, each in operation["responses"].items()}
    for name, body in bodies.items():
        for content in body.get("content", {}).values():
            yield from (f"{name} {fault}" for fault in _example_faults(content, document))


def _example_faults(content: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    examples = content.get("examples", {})
    if not examples:
        yield "has no example. Write `examples` on the serializer."
    schema = {**content.get("schema", {}), "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for name, example in examples.items():
        for error in validator.iter_errors(example["value"]):
            yield f"has the example {name} that its schema refuses at {error.json_path}: {error.message}"


def _resolved(response: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a response, or the one of the document's components that it refers to."""
    name = response.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["responses"][name] if name else response
    return found
