"""The tutorial, typed as it stands."""

import sys
from pathlib import Path

import pytest

from tests.platform.tutorial import work_through

pytestmark = pytest.mark.platform


def test_the_tutorial_works_as_printed(tmp_path: Path) -> None:
    """Each file of the page is written, each command run, and each answer that it shows is in what was printed."""
    work_through(tmp_path, programs=Path(sys.executable).parent)
