"""How Kong chooses a route and what it asks the service for: its documented rules, for what we render.

Routes with more matchers (path, method and header before path and method) come first, then those with a greater
``regex_priority``, and a regular expression is anchored at the beginning. ``strip_path`` with ``path_handling: v0``
puts the path of the service before what the expression left over, with one slash between them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """The chosen route, its service (None where there is none) and the path that the service is asked for."""

    route: str
    service: Mapping[str, Any] | None
    path: str


def choose(
    configuration: Mapping[str, Any], method: str, path: str, headers: Mapping[str, str] | None = None
) -> Choice:
    """Return what Kong does with a request whose path is normalised already, and whose headers have small letters."""
    sent = headers or {}
    candidates = [(route, service) for service in configuration["services"] for route in service["routes"]]
    candidates += [(route, None) for route in configuration["routes"]]
    candidates.sort(key=lambda pair: _rank(pair[0]), reverse=True)
    for route, service in candidates:
        if method not in route.get("methods", [method]):
            continue
        if any(sent.get(name, "").lower() not in values for name, values in route.get("headers", {}).items()):
            continue
        for pattern in route["paths"]:
            if (length := _matched(pattern, path, configuration["_format_version"])) is not None:
                asked = _joined(service["path"], path[length:], path) if service else path
                return Choice(route["name"], service, asked)
    raise AssertionError("the last route takes every path")


def _rank(route: Mapping[str, Any]) -> tuple[int, int]:
    return len({"methods", "headers"} & route.keys()), route.get("regex_priority", 0)


def _matched(pattern: str, path: str, version: str) -> int | None:
    if version == "2.1":
        is_prefix, expression = re.fullmatch(r"[a-zA-Z0-9.\-_~/%]*", pattern) is not None, pattern
    else:
        is_prefix, expression = not pattern.startswith("~"), pattern.removeprefix("~")
    if is_prefix:
        return len(pattern) if path.startswith(pattern) else None
    match = re.match(expression, path)
    return match.end() if match else None


def _joined(base: str, rest: str, path: str) -> str:
    if not rest:
        return f"{base}/" if path.endswith("/") else base
    return f"{base}{rest}" if rest.startswith("/") else f"{base}/{rest}"
