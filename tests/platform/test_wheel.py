"""Bandstand as others install it: from its wheel, in an environment of its own, away from the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

import pytest

from bandstand.testing import require_server
from tests.platform.conftest import ROOT, copy_shop
from tests.platform.tutorial import work_through

pytestmark = pytest.mark.platform

# What make and a virtual environment hand down, which would change what `make wheel` and the wheel's programs do.
HANDED_DOWN = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "VIRTUAL_ENV"}


def run(*command: str | Path, folder: Path) -> str:
    """Run ``command`` in ``folder`` as from a new terminal and return what it printed."""
    done = attempt(*command, folder=folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def attempt(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in HANDED_DOWN}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def files_of(folder: str) -> list[str]:
    """Return the files that a commit of everything would hold below ``folder``."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder, folder=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as git would clone it, after `make wheel`."""
    folder = tmp_path_factory.mktemp("clone")
    pip = (sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--retries", "1", "--timeout", "10")
    offline = attempt(*pip, "--dest", tmp_path_factory.mktemp("probe"), "hatchling", folder=folder)
    require_server(
        "package-index", found=offline.returncode == 0, problem="does not answer",
        how="To run these tests: give pip a package index that it can reach.",
    )  # fmt: skip
    for name in files_of("."):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    run("make", "wheel", f"PYTHON={sys.executable}", folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    [built] = (clone / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions that are tested, so that the environments below are the same on every day."""
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    pinned = {f"{each.name}=={each.version}" for each in distributions() if each.name != "bandstand"}
    path.write_text("\n".join(sorted(pinned)))
    return path


def install(folder: Path, wheel: Path, extra: str, constraints: Path) -> Path:
    """Install the wheel with one extra into a new environment and return the folder of its programs."""
    venv.create(folder)
    programs = folder / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "-qq", "--only-binary=:all:")
    run(*pip, "--constraint", constraints, f"{wheel}[{extra}]", folder=folder)
    return programs


def contents(wheel: Path) -> Mapping[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """SQL, templates and static files come along, as the modules do."""
    expected = {name.removeprefix("src/"): (ROOT / name).read_bytes() for name in files_of("src/bandstand")}
    assert {Path(name).suffix for name in expected} >= {".py", ".sql", ".typed"}
    packed = {name: content for name, content in contents(wheel).items() if ".dist-info/" not in name}
    assert packed == expected


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/install.md", "docs/tutorial/first-platform.md"])
def test_the_pages_name_the_wheel(wheel: Path, page: str) -> None:
    """What a reader is told to install is the file that `make wheel` writes."""
    assert f"dist/{wheel.name}[up]" in (ROOT / page).read_text()


def test_the_source_distribution_builds_the_same_wheel(clone: Path, wheel: Path, tmp_path: Path) -> None:
    """Whoever builds from the source distribution gets the same bytes."""
    [source] = (clone / "dist").glob("*.tar.gz")
    run("tar", "-xzf", source, folder=tmp_path)
    [unpacked] = tmp_path.iterdir()
    builder = clone / ".venv-build" / "bin" / "python"
    run(builder, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "again", folder=unpacked)
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_command_line_needs_no_extra_but_its_own(wheel: Path, constraints: Path, tmp_path: Path) -> None:
    """It shows its commands and renders a platform, and `up` names the extra that it needs."""
    programs = install(tmp_path / "environment", wheel, "cli", constraints)
    shop = copy_shop(tmp_path)
    assert " up " in run(programs / "bandstand", "--help", folder=shop)
    run(programs / "bandstand", "export", "kubernetes", "--out", tmp_path / "kubernetes", folder=shop)
    refused = attempt(programs / "bandstand", "up", folder=shop)
    assert refused.returncode != 0
    assert "pip install 'bandstand[up]'" in refused.stderr


def test_the_tutorial_works_from_the_wheel(wheel: Path, constraints: Path, tmp_path: Path) -> None:
    """`bandstand up` starts the tutorial's platform, an event goes through, and `bandstand down` ends it."""
    environment, folder = tmp_path / "environment", tmp_path / "hello"
    folder.mkdir()
    programs = install(environment, wheel, "up", constraints)
    where = run(programs / "python", "-c", "import bandstand; print(bandstand.__file__)", folder=folder)
    assert Path(where).is_relative_to(environment)
    work_through(folder, programs=programs)
