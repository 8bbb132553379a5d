"""The stages of the test suite."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["STAGES", "Stage"]

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of pytest with ``options`` on ``tests``, which are paths relative to ``folder``.

    With more than one of ``workers``, which are processes, the tests of a file stay together unless ``distribution``
    is another of pytest-xdist's modes.
    """

    name: str
    tests: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    folder: Path = ROOT
    workers: int = 1
    distribution: str = "loadfile"
    python: str = sys.executable

    def command(self, *, seed: int, log: Path) -> list[str]:
        """Return the command that runs the stage and writes its report log to ``log``."""
        parallel = ["-n", str(self.workers), "--dist", self.distribution] if self.workers > 1 else []
        return [*self._pytest(seed, log), *parallel, *self.tests]

    def rerun_command(self, test: str, *, seed: int, log: Path) -> list[str]:
        """Return the command that runs one test alone and prints its output even if it passes."""
        return [*self._pytest(seed, log), "-rA", test]

    def _pytest(self, seed: int, log: Path) -> list[str]:
        """Runs that share a folder would also share pytest's cache, so none of them writes it."""
        options = ["-p", "no:cacheprovider", f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
        return [self.python, "-m", "pytest", f"--report-log={log}", *options, *self.options]


_SERVICES: Final = ("user-service", "product-service", "order-service", "notification-service")
_WITH_SERVERS: Final = ("tests/integration", "tests/platform", "tests/docker")
_PURCHASE: Final = "tests/platform/test_purchase.py"
_BENCHMARKS: Final = "tests/integration/benchmarks"


def _marked(expression: str) -> tuple[str, ...]:
    return ("-m", expression)


def _unit(name: str, expression: str, python: str = sys.executable) -> Stage:
    options = (*_marked(expression), *(f"--ignore={folder}" for folder in _WITH_SERVERS))
    return Stage(name=name, tests=("tests",), options=options, workers=2, distribution="worksteal", python=python)


def _shop(name: str, python: str = sys.executable) -> tuple[Stage, ...]:
    return tuple(Stage(name=f"{name}/{each}", folder=ROOT / "shop" / each, python=python) for each in _SERVICES)


def _integration(name: str, expression: str, workers: int) -> Stage:
    options = (*_marked(expression), f"--ignore={_BENCHMARKS}")
    return Stage(name=name, tests=("tests/integration",), options=options, workers=workers)


# Python and Django in the newest versions that are supported: `make` installs them in an environment of their own.
_NEWEST: Final = os.environ.get("BANDSTAND_NEWEST_PYTHON", "")

# The stages of one name run side by side.
STAGES: Final[dict[str, tuple[Stage, ...]]] = {
    "unit": (_unit("unit", "not export"),),
    "shop": _shop("shop"),
    "integration": (_integration("integration", "not fault", workers=4),),
    "purchase": (Stage(name="purchase", tests=(_PURCHASE,)),),
    "faults": (_integration("faults", "fault", workers=4),),
    "benchmarks": (Stage(name="benchmarks", tests=(_BENCHMARKS,), workers=3, distribution="worksteal"),),
    "platform": (Stage(name="platform", tests=("tests/platform",), options=(f"--ignore={_PURCHASE}",)),),
    "export": (_unit("export", "export"),),
    "containers": (Stage(name="containers", tests=("tests/docker",), options=_marked("not long")),),
    "newest": (_unit("newest", "not export", _NEWEST), *_shop("newest", _NEWEST)) if _NEWEST else (),
    "restarts": (Stage(name="restarts", tests=("tests/docker",), options=_marked("long")),),
}
