"""The watchdog's own rules; that it ends real processes is shown in the integration tests."""

from pathlib import Path

from bandstand.workspace.runtime import shim, watchdog


def test_it_knows_what_is_left() -> None:
    """When the runner's lines end, the groups that were added and not removed are to be ended."""
    lines = ["add 10 15\n", "add 11 2\n", "remove 10\n", "remove 99\n", "nonsense\n"]
    assert watchdog.watch(lines) == {11: 2}


def test_it_imports_nothing_of_ours() -> None:
    """Watchdog and shim run without site-packages: each process of a platform pays for their start."""
    for module in (watchdog, shim):
        assert "bandstand" not in Path(module.__file__ or "").read_text().split('"""')[2]
