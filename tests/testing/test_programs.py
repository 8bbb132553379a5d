"""Tests find the optional programs wherever a machine has them."""

from pathlib import Path

import pytest

from tests.programs import find_program, require_program

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A PATH of one folder, and a cache of `.ci/install-servers`, both empty."""
    made = {name: tmp_path / name for name in ("path", "cache")}
    for folder in made.values():
        folder.mkdir()
    monkeypatch.setenv("PATH", str(made["path"]))
    monkeypatch.setenv("BANDSTAND_CI_CACHE", str(made["cache"]))
    return made


def install(folder: Path, name: str) -> str:
    program = folder / name
    program.touch(mode=0o755)
    return str(program)


def test_an_unpacked_program_is_found_without_a_change_of_the_path(folders: dict[str, Path]) -> None:
    """`.ci/install-servers` unpacks Consul and promtool into a folder that is on nobody's PATH."""
    assert find_program("bandstand-nowhere") is None
    unpacked = install(folders["cache"], "bandstand-nowhere")
    assert find_program("bandstand-nowhere") == unpacked


def test_the_path_comes_first(folders: dict[str, Path]) -> None:
    """A program that somebody put on the PATH wins over the unpacked one."""
    install(folders["cache"], "bandstand-nowhere")
    chosen = install(folders["path"], "bandstand-nowhere")
    assert find_program("bandstand-nowhere") == chosen


def test_the_cache_is_in_the_home_folder_by_default(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where BANDSTAND_CI_CACHE names no folder, the scripts and the tests agree on ~/.cache/bandstand-ci."""
    monkeypatch.delenv("BANDSTAND_CI_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".cache" / "bandstand-ci"
    folder.mkdir(parents=True)
    assert find_program("bandstand-nowhere") is None
    unpacked = install(folder, "bandstand-nowhere")
    assert find_program("bandstand-nowhere") == unpacked


def test_one_of_several_names_is_enough(folders: dict[str, Path]) -> None:
    """Chromium has other names on other systems."""
    second = install(folders["path"], "bandstand-second")
    assert require_program("nowhere", "bandstand-first", "bandstand-second") == second


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("x,nowhere", pytest.fail.Exception)])
def test_a_missing_program_skips_or_fails_and_names_the_command(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, required: str, outcome: type
) -> None:
    """The reason says how to install it; where it is required, its absence is a failure."""
    monkeypatch.setenv("BANDSTAND_TEST_REQUIRE", required)
    with pytest.raises(outcome, match=r"nowhere is not installed.*bash \.ci/install-servers"):
        require_program("nowhere", "bandstand-nowhere")


def test_no_test_looks_for_programs_by_itself() -> None:
    """`shutil.which` knows only the PATH, so a test that used it would be skipped right after the installation."""
    found = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py") if "shutil.which(" in path.read_text()}
    assert found == {"programs.py", "testing/test_programs.py"}
