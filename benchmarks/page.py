"""The page of figures, made from what the benchmarks wrote with ``--json``.

    python benchmarks/page.py .benchmarks/*.json > docs/reference/figures.md

So each figure stands in one place and says what its script said, missed targets included.
"""

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import duration, number

HERE = Path(__file__).parent
INTRODUCTION = """# Figures

Written by `make figures` from what the scripts in `benchmarks/` measured; nothing here is written by hand. Each row is
a median with its spread: the 10th and 90th percentiles, or the lowest and the highest of fewer than ten samples.
Processor time is that of one operation. A ratio divides the median by that of what is named beside it."""
HEAD = "| Figure | Median | Spread | Processor | Ratio | Target |\n|---|---|---|---|---|---|"


def page(reports: list[dict[str, Any]]) -> str:
    """Return the page, in Markdown.

    Raises:
        ValueError: a report was made with ``--quick``, so that its figures say nothing.
    """
    return "\n\n".join(_blocks(sorted(reports, key=lambda report: str(report["script"])))) + "\n"


def _blocks(reports: list[dict[str, Any]]) -> Iterator[str]:
    yield INTRODUCTION
    missed = [f"- `{row['name']}`: {row['target']}, {row['verdict']}" for row in _missed_rows(reports)]
    yield "## Missed targets"
    yield "\n".join(missed) or "None."
    for report in reports:
        if report["quick"]:
            raise ValueError(f"{report['script']} ran with --quick, so that its figures say nothing. Run it without.")
        yield f"## {report['script']}"
        yield _description(report["script"])
        yield f"{report['machine'].capitalize()}."
        yield "\n".join([HEAD, *(_line(row) for row in report["rows"])])
        if report["left_out"]:
            yield "Left out: " + "; ".join(report["left_out"]) + "."


def _missed_rows(reports: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for report in reports:
        yield from (row for row in report["rows"] if row["name"] in report["missed"])


def _description(script: str) -> str:
    return ast.get_docstring(ast.parse((HERE / script).read_text())) or ""


def _line(row: dict[str, Any]) -> str:
    spread = f"{number(row['low'])} to {number(row['high'])}" if row["samples"] > 1 else ""
    processor = "" if row["processor_seconds"] is None else duration(row["processor_seconds"])
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} of {row['ratio_to']}"
    target = f"{row['target']}: {row['verdict']}" if row["target"] else ""
    name = f"`{row['name']}` {row['note']}".strip()
    return f"| {name} | {number(row['median'])} {row['unit']} | {spread} | {processor} | {ratio} | {target} |"


def main() -> None:
    """Print the page of the reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", metavar="FILE", help="what a benchmark wrote with --json")
    files: list[Path] = parser.parse_args().reports
    try:
        sys.stdout.write(page([json.loads(file.read_text()) for file in files]))
    except FileNotFoundError as error:
        sys.exit(f"The page can't be made: there is no {error.filename}. Run `make bench` first.")
    except ValueError as error:
        sys.exit(f"The page can't be made: {error}")


if __name__ == "__main__":
    main()
