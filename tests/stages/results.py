"""The results of tests, read from the log of pytest-reportlog."""

from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = ["Result", "read_results"]


class Result(msgspec.Struct, kw_only=True):
    """The result of one test, or of a file that could not be collected."""

    test: str
    outcome: str = "passed"  # or "failed", "skipped"
    seconds: float = 0.0
    reason: str = ""  # why it was skipped
    failure: str = ""  # its tracebacks
    captured: str = ""  # what it wrote


class _Report(msgspec.Struct, rename={"kind": "$report_type"}):
    """One line of the log. A test has one for each of setup, call and teardown."""

    kind: str = ""
    nodeid: str = ""
    outcome: str = ""
    duration: float = 0.0
    longrepr: Any = None
    sections: list[tuple[str, str]] = []


_KINDS: Final = ("TestReport", "CollectReport")


def read_results(log: Path) -> list[Result]:
    """Return one result for each test in ``log``, also if the run ended before its end."""
    results: dict[str, Result] = {}
    for line in log.read_bytes().splitlines() if log.exists() else ():
        report = msgspec.json.decode(line, type=_Report)
        if report.kind == "TestReport" or (report.kind == "CollectReport" and report.outcome == "failed"):
            _add(results.setdefault(report.nodeid, Result(test=report.nodeid)), report)
    return list(results.values())


def _add(result: Result, report: _Report) -> None:
    result.seconds += report.duration
    if report.outcome == "failed":
        result.outcome = "failed"
        result.failure += _failure(report.longrepr)
    elif report.outcome == "skipped" and result.outcome == "passed":
        result.outcome = "skipped"
        result.reason = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, list) else ""
    if report.sections:  # each report repeats those of the ones before it
        result.captured = "".join(f"--- {title} ---\n{content}\n" for title, content in report.sections)


def _failure(longrepr: Any) -> str:
    """Return the source lines and messages of all tracebacks, the cause first."""
    if not isinstance(longrepr, dict):
        return f"{longrepr}\n"
    tracebacks = [each[0] for each in longrepr.get("chain", ())] or [longrepr["reprtraceback"]]
    entries = [entry["data"] for traceback in tracebacks for entry in traceback["reprentries"]]
    return "\n".join(line for entry in entries for line in [*entry["lines"], _place(entry), ""])


def _place(entry: dict[str, Any]) -> str:
    place = entry.get("reprfileloc")
    return f"{place['path']}:{place['lineno']}: {place['message']}" if place else ""
