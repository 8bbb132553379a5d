"""The report of a benchmark: medians, spread, verdicts, and the last line."""

import json
from pathlib import Path

import pytest
from benchmarks.report import Report, Row, at_least, at_most, parser


def report(*options: str) -> Report:
    return Report(parser("a benchmark").parse_args(options))


def row(*samples: float) -> Row:
    return Row(name="a", unit="s", samples=samples)


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (at_most(12), 12.0, "met"),
        (at_most(12), 15.0, "missed by 25.0 %"),
        (at_least(2500), 2500.0, "met"),
        (at_least(2500), 1000.0, "missed by 60.0 %"),
        (at_most(0), 0.0, "met"),
        (at_most(0), 3.0, "missed by 3"),
    ],
)
def test_verdict(target, value, verdict):
    """A value on the bound meets it, and a miss is told in per cent of the bound, or in units where the bound is 0."""
    assert target.verdict(value) == verdict


def test_median_and_not_minimum():
    """A row stands for its median, whatever the best sample was."""
    assert row(1.0, 9.0, 8.0).median == 8.0


def test_spread_of_few_samples():
    """Few samples are spread from the lowest to the highest."""
    assert row(3.0, 1.0, 2.0).spread == (1.0, 3.0)


def test_spread_of_many_samples():
    """One outlier among many samples is not the spread."""
    low, high = row(*range(100), 10_000.0).spread
    assert (low, high) == (10.0, 90.0)


def test_a_row_without_target_is_not_judged():
    """A row that has no target says so, and counts as neither met nor missed."""
    assert row(1.0).verdict == "no target"


def test_last_line_names_each_missed_target(capsys):
    """The last line names what was missed, and nothing that was met or has no target."""
    made = report()
    made.add("met", [1.0, 2.0, 3.0], "s", target=at_most(2))
    made.add("slow", [3.0, 4.0, 5.0], "s", target=at_most(2))
    made.add("few", 10, "1/s", target=at_least(20))
    made.add("other", 99, "s")
    made.end()
    assert capsys.readouterr().out.splitlines()[-1] == "targets missed: slow (by 100.0 %), few (by 50.0 %)"


def test_last_line_when_all_are_met(capsys):
    """A report that missed nothing ends with that."""
    made = report()
    made.add("a", 1, "s", target=at_most(2))
    made.end()
    assert capsys.readouterr().out.splitlines()[-1] == "all targets met"


def test_json_file(tmp_path: Path):
    """The file holds each row with median, spread, processor time, ratio, target and verdict."""
    file = tmp_path / "report.json"
    made = report("--quick", "--json", str(file))
    made.add("call", [2.0, 4.0, 9.0], "µs", target=at_most(3), processor=0.5, to=("bare", [2.0]), note="kept")
    made.leave_out("nameko: not installed")
    made.end()
    found = json.loads(file.read_text())
    assert (found["quick"], found["missed"], found["left_out"]) == (True, ["call"], ["nameko: not installed"])
    assert found["rows"] == [
        {
            "name": "call",
            "unit": "µs",
            "median": 4.0,
            "low": 2.0,
            "high": 9.0,
            "samples": 3,
            "processor_seconds": 0.5,
            "ratio_to": "bare",
            "ratio": 2.0,
            "target": "at most 3",
            "verdict": "missed by 33.3 %",
            "note": "kept",
        }
    ]


def test_a_row_needs_samples():
    """A figure that was not measured is an error and no row."""
    with pytest.raises(ValueError, match="row a has no samples"):
        report().add("a", [], "s")


def test_names_are_unique():
    """Two rows of one name could not be told apart by what quotes them."""
    made = report()
    made.add("a", 1, "s")
    with pytest.raises(ValueError, match="two rows named a"):
        made.add("a", 2, "s")
