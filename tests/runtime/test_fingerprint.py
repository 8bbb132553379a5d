"""When migrations may be skipped: only when nothing changed that could concern them."""

from pathlib import Path

import pytest

from bandstand.workspace.runtime.fingerprint import environment_fingerprint, service_fingerprint


@pytest.fixture
def service(tmp_path: Path) -> Path:
    for name in ("app/models.py", "app/migrations/0001_initial.py", "project/settings.py", "tests/test_x.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("name", ["app/models.py", "app/migrations/0001_initial.py", "project/settings.py"])
def test_a_changed_file_changes_the_fingerprint(service: Path, name: str) -> None:
    """Any of the service's own Python files may decide what a migration does."""
    before = service_fingerprint(service, "e")
    (service / name).write_text("x = 2\n")
    assert service_fingerprint(service, "e") != before


def test_a_new_a_removed_and_a_renamed_file_change_it(service: Path) -> None:
    """Names count as well as contents."""
    seen = {service_fingerprint(service, "e")}
    added = service / "app/migrations/0002_more.py"
    added.write_text("x = 1\n")
    seen.add(service_fingerprint(service, "e"))
    added.rename(service / "app/migrations/0003_more.py")
    seen.add(service_fingerprint(service, "e"))
    assert len(seen) == 3


def test_another_environment_changes_it(service: Path) -> None:
    """An installed package brings migrations of its own."""
    assert service_fingerprint(service, "e") != service_fingerprint(service, "f")


def test_what_runs_leaves_behind_does_not_change_it(service: Path) -> None:
    """Tests, compiled files, logs and touched times make no difference."""
    before = service_fingerprint(service, "e")
    (service / "app/__pycache__").mkdir()
    (service / "app/__pycache__/models.py").write_text("y")
    (service / "tests/test_x.py").write_text("y")
    (service / "app/models.py").touch()
    (service / "debug.log").write_text("y")
    assert service_fingerprint(service, "e") == before


def test_the_environment_is_known_and_stable() -> None:
    """Looking twice gives the same."""
    environment_fingerprint.cache_clear()
    first = environment_fingerprint()
    environment_fingerprint.cache_clear()
    assert environment_fingerprint() == first
