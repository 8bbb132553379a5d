"""The runner of the test suite: a test that fails fails the run, unless it passes alone; no more than two may do so."""

import tomllib
from pathlib import Path

import psutil
import pytest

from tests.stages.definition import STAGES, Stage
from tests.stages.load import busy
from tests.stages.results import Result
from tests.stages.runner import Outcome, Rerun, rerun, run
from tests.stages.summary import has_passed, summarize

ROOT = Path(__file__).parents[2]
TESTS = """
import pathlib, pytest

def test_sound(): pass

def test_unstable():
    print("printed by the test")
    seen = pathlib.Path(__file__).with_name("seen")
    was_there = seen.exists()
    seen.touch()
    assert was_there

def test_wrong(): raise ValueError("a fault")

def test_missing(): pytest.skip("consul is not installed")

@pytest.fixture
def broken(): raise KeyError("a fixture")

def test_of_a_broken_fixture(broken): pass
"""


def stage(folder: Path, name: str = "small") -> Stage:
    return Stage(name=name, folder=folder, options=("-p", "no:django", "-p", "no:xdist"))


def outcome(*failed: str, status: int = 1, stage: str = "unit") -> Outcome:
    results = [Result(test=each, outcome="failed", failure="assert 50 > 50") for each in failed]
    return Outcome(stage=stage, seconds=1.0, status=status, results=results)


def second(test: str, *, passed: bool, stage: str = "unit") -> Rerun:
    return Rerun(stage=stage, test=test, first="assert 50 > 50", second="1 passed", passed=passed)


def test_results_and_reruns_of_real_tests(tmp_path: Path) -> None:
    """Each test has its result and output; one that passes alone is unstable, one that fails again is not."""
    (tmp_path / "test_small.py").write_text(TESTS)
    [ran] = run((stage(tmp_path),), seed=1, jobs=1)
    results = {result.test.partition("::")[2]: result for result in ran.results}
    assert {name: result.outcome for name, result in results.items()} == {
        "test_sound": "passed",
        "test_unstable": "failed",
        "test_wrong": "failed",
        "test_missing": "skipped",
        "test_of_a_broken_fixture": "failed",
    }
    assert not ran.is_broken
    assert results["test_missing"].reason == "consul is not installed"
    assert "KeyError" in results["test_of_a_broken_fixture"].failure
    unstable = rerun(stage(tmp_path), results["test_unstable"], seed=1)
    assert unstable.passed
    assert "assert was_there" in unstable.first
    assert "printed by the test" in unstable.first
    assert "printed by the test" in unstable.second
    assert not rerun(stage(tmp_path), results["test_wrong"], seed=1).passed


def test_stages_side_by_side(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The output of each is printed in one piece, and the failure of one does not end the other."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first" / "test_first.py").write_text("def test_one(): assert False, 'a fault'")
    (tmp_path / "second" / "test_second.py").write_text("def test_two(): pass")
    outcomes = run(tuple(stage(tmp_path / name, name) for name in ("first", "second")), seed=1, jobs=2)
    assert {outcome.stage: len(outcome.failed) for outcome in outcomes} == {"first": 1, "second": 0}
    assert "1 failed" in capfd.readouterr().out


def test_a_run_without_tests_is_broken(tmp_path: Path) -> None:
    """A stage whose tests are not found has not passed."""
    [ran] = run((stage(tmp_path),), seed=1, jobs=1)
    assert ran.is_broken
    assert not has_passed([ran], [])
    assert any("BROKEN: small" in line for line in summarize([ran], []))


def test_other_work_ends_with_the_tests() -> None:
    """What keeps the machine busy runs as long as the stages do."""
    with busy(2) as processes:
        assert all(psutil.pid_exists(process) for process in processes)
    assert not any(psutil.pid_exists(process) for process in processes)


@pytest.mark.parametrize(("failing", "passes"), [(0, True), (1, True), (2, True), (3, False)])
def test_unstable_tests(failing: int, passes: bool) -> None:
    """Up to two are printed with both outputs and do not fail the run; three do."""
    names = [f"test_{number}" for number in range(failing)]
    outcomes = [outcome(*names, status=1 if names else 0)]
    reruns = [second(name, passed=True) for name in names]
    text = "\n".join(summarize(outcomes, reruns))
    assert has_passed(outcomes, reruns) is passes
    assert text.count("UNSTABLE") == failing
    assert text.count("assert 50 > 50") == text.count("1 passed") == failing
    assert "FAILED" not in text


def test_a_test_that_fails_twice_fails_the_run() -> None:
    """The same test in another stage is another test."""
    outcomes = [outcome("test_a"), outcome("test_a", stage="newest")]
    reruns = [second("test_a", passed=True), second("test_a", passed=False, stage="newest")]
    assert not has_passed(outcomes, reruns)
    assert [line for line in summarize(outcomes, reruns) if line.startswith("FAILED")] == ["FAILED: test_a (newest)"]


def test_a_failure_without_a_rerun_fails_the_run() -> None:
    """Where too many fail to be run again, none of them counts as unstable."""
    assert not has_passed([outcome("test_a", "test_b")], [])


def test_a_crash_after_failures_is_no_ordinary_failure() -> None:
    """pytest ends with another status than that of failed tests when it is interrupted or breaks down."""
    assert outcome("test_a", status=3).is_broken
    assert not outcome("test_a", status=1).is_broken


def test_the_makefile_names_stages_that_exist() -> None:
    """Each stage belongs to exactly one of `make test`, the rest of `make test-all`, and `make test-long`."""
    makefile = (ROOT / "Makefile").read_text()
    tiers = [
        line.split("=")[1].split()
        for line in makefile.splitlines()
        if line.startswith(("TEST :=", "REST :=", "LONG :="))
    ]
    assert sorted(name for tier in tiers for name in tier) == sorted(STAGES)


def test_every_marker_has_its_stage() -> None:
    """A test that one stage leaves out by its marker is run by another."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    declared = {marker.partition(":")[0] for marker in options["markers"]}
    expressions = {stage.options[1] for group in STAGES.values() for stage in group if "-m" in stage.options}
    for left_out in {each.removeprefix("not ") for each in expressions if each.startswith("not ")}:
        assert left_out in declared
        assert left_out in expressions
