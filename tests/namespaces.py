"""Namespaces of Linux, in which a test has mounts or a user of its own; they go with its last process."""

import os
import subprocess
from collections.abc import Sequence
from typing import Final

from bandstand.testing import require_server

__all__ = ["OWN_MOUNTS", "require_mounts", "require_namespaces"]

OWN_MOUNTS: Final = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")

_HOW: Final = "To run these tests: Linux that lets this user make namespaces; in a container, --privileged"


def require_namespaces(words: Sequence[str]) -> None:
    """Go on when the command ``words`` succeeds; else skip the test, or fail it where it is required.

    ``BANDSTAND_TEST_REQUIRE=namespaces`` makes a failure of it.
    """
    try:
        tried = subprocess.run(words, capture_output=True, text=True, check=False)
        found, problem = tried.returncode == 0, tried.stderr.strip()
    except OSError as error:
        found, problem = False, str(error)
    require_server("namespaces", found=found, how=_HOW, problem=f"are refused ({problem})")


def require_mounts() -> None:
    """Go on where a file system of a few kilobytes can be mounted for one process and its children."""
    require_namespaces([*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"])
