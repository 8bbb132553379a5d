"""What holds for a service as a whole, asked of Django's own commands."""

import json
import os
import subprocess
import sys
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

from bandstand.conf import wire

__all__ = ["deployment_faults", "manage", "openapi_document"]


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
