"""The report of a benchmark: medians with their spread and processor time, each judged by its target.

A script parses its options with `parser`, adds a row for each figure and ends the report:

    options = parser(__doc__).parse_args()
    report = Report(options)
    report.add("up.warm", [6.2, 6.6, 6.4], "s", target=at_most(12), processor=4.1)
    report.end()

The exit status says nothing about targets, since a figure depends on the machine; the last line does.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

__all__ = [
    "Cost",
    "Report",
    "Row",
    "Target",
    "at_least",
    "at_most",
    "duration",
    "number",
    "parser",
    "processor_seconds",
    "reading",
]

RANGE = 10
"""With fewer samples than this the spread is the lowest and the highest; with more, the 10th and 90th percentiles."""


@dataclass(frozen=True)
class Target:
    """The bound that a row's median has to keep, in the row's unit."""

    sense: Literal["at most", "at least"]
    bound: float

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:,.6g}"

    def verdict(self, value: float) -> str:
        """Return "met", or by how much ``value`` missed the bound: in per cent of it, or in units where it is 0."""
        excess = value - self.bound if self.sense == "at most" else self.bound - value
        if excess <= 0:
            return "met"
        return f"missed by {100 * excess / self.bound:.1f} %" if self.bound else f"missed by {excess:,.6g}"


def at_most(bound: float) -> Target:
    """Return the target of a figure that should be small."""
    return Target("at most", bound)


def at_least(bound: float) -> Target:
    """Return the target of a figure that should be large."""
    return Target("at least", bound)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. ``processor`` is in seconds for one operation; ``ratio`` divides the median by that of ``to``."""

    name: str
    unit: str
    samples: tuple[float, ...]
    target: Target | None = None
    processor: float | None = None
    to: str | None = None
    ratio: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest sample, or the 10th and 90th percentiles of ten samples or more."""
        if len(self.samples) < RANGE:
            return min(self.samples), max(self.samples)
        deciles = statistics.quantiles(self.samples, n=10, method="inclusive")
        return deciles[0], deciles[-1]

    @property
    def verdict(self) -> str:
        """The judgement of the median: "met", "missed by …", or "no target"."""
        return self.target.verdict(self.median) if self.target else "no target"

    def as_json(self) -> dict[str, Any]:
        """Return the row for programs."""
        low, high = self.spread
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": low,
            "high": high,
            "samples": len(self.samples),
            "processor_seconds": self.processor,
            "ratio_to": self.to,
            "ratio": self.ratio,
            "target": str(self.target) if self.target else None,
            "verdict": self.verdict,
            "note": self.note,
        }

    def as_line(self) -> str:
        """Return the row for people."""
        low, high = self.spread
        spread = f"{number(low)} to {number(high)}" if len(self.samples) > 1 else ""
        processor = "" if self.processor is None else f"{duration(self.processor)} processor"
        beside = "" if self.ratio is None else f"{self.ratio:.2f} of {self.to}"
        judged = f"{self.target}: {self.verdict}" if self.target else ""
        cells = f"{self.name:44} {number(self.median):>11} {self.unit:9} {spread:>22}  {processor:>19}"
        return "  ".join(part for part in (cells, judged, beside, self.note) if part).rstrip()


class Report:
    """The rows of one script. ``options`` are those of `parser`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.quick: bool = options.quick
        self._file: Path | None = options.json
        self._rows: list[Row] = []
        self._left_out: list[str] = []
        print(_machine())
        if self.quick:
            print("--quick: small counts, so that these figures say nothing about speed")

    def add(
        self,
        name: str,
        samples: Sequence[float] | float,
        unit: str,
        *,
        target: Target | None = None,
        processor: float | None = None,
        to: tuple[str, Sequence[float] | float] | None = None,
        note: str = "",
    ) -> Row:
        """Add a figure and print it.

        Args:
            name: of the row, dotted; unique in the report.
            samples: what was measured, of each round or call; a number alone is one sample.
            unit: of the samples and of the target.
            target: what the median is judged by.
            processor: seconds of processor time for one operation.
            to: a name and the samples of what the figure is divided by, median by median.
            note: anything else to print on the line.

        Raises:
            ValueError: there are no samples, or the report has a row of that name.
        """
        taken = _samples(samples)
        if not taken:
            raise ValueError(f"The row {name} has no samples.")
        if any(row.name == name for row in self._rows):
            raise ValueError(f"The report has two rows named {name}.")
        label, base = (to[0], statistics.median(_samples(to[1]))) if to else (None, 0.0)
        ratio = statistics.median(taken) / base if base else None
        row = Row(
            name=name, unit=unit, samples=taken, target=target, processor=processor, to=label, ratio=ratio, note=note
        )
        self._rows.append(row)
        print(row.as_line(), flush=True)
        return row

    def leave_out(self, reason: str) -> None:
        """Print and record that something was not measured, and why: a peer that is not installed, for example."""
        self._left_out.append(reason)
        print(f"left out: {reason}", flush=True)

    def end(self) -> None:
        """Write the file for programs, and print which targets were missed."""
        missed = [f"{row.name} ({row.verdict.removeprefix('missed ')})" for row in self._rows if _is_missed(row)]
        if self._file:
            self._file.write_text(json.dumps(self._as_json(), indent=2, ensure_ascii=False) + "\n")
        print(f"targets missed: {', '.join(missed)}" if missed else "all targets met")

    def _as_json(self) -> dict[str, Any]:
        return {
            "script": Path(sys.argv[0]).name,
            "machine": _machine(),
            "quick": self.quick,
            "rows": [row.as_json() for row in self._rows],
            "missed": [row.name for row in self._rows if _is_missed(row)],
            "left_out": self._left_out,
        }


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="small counts: shows that the script works, in seconds")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows and verdicts to this file as well")
    return made


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of processor time of all threads of this process."""

    seconds: float
    processor: float

    def __sub__(self, begun: "Cost") -> "Cost":
        return Cost(self.seconds - begun.seconds, self.processor - begun.processor)


def reading() -> Cost:
    """Read both clocks: what something cost is the reading after it less the one before it."""
    return Cost(time.perf_counter(), time.process_time())


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds, with all that it started.

    Descendants that have ended count as soon as their parent has waited for them.
    """
    process = psutil.Process(pid)
    used = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def number(value: float) -> str:
    """Return a figure with four digits that count, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _samples(samples: Sequence[float] | float) -> tuple[float, ...]:
    return tuple(map(float, [samples] if isinstance(samples, int | float) else samples))


def _is_missed(row: Row) -> bool:
    return row.verdict.startswith("missed")


def _machine() -> str:
    loads = "/".join(f"{load:.1f}" for load in os.getloadavg())
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"machine: {os.cpu_count()} cores, {system}, load {loads}"
