"""Servers that a test needs and a machine may not have."""

import os
from typing import Final

import pytest

__all__ = ["REQUIRED", "require_server"]

REQUIRED: Final = "BANDSTAND_TEST_REQUIRE"
"""Names, comma-separated, of the servers whose absence fails a test instead of skipping it."""


def require_server(name: str, *, found: bool, how: str, problem: str = "is not installed") -> None:
    """Go on when ``found``; else skip the test, or fail it when ``BANDSTAND_TEST_REQUIRE`` holds ``name``.

    ``how`` says in one sentence how one gets the server. Where it is installed and can't be used, ``problem`` replaces
    "is not installed" after its name.
    """
    if found:
        return
    required = {part.strip() for part in os.environ.get(REQUIRED, "").split(",")}
    if name in required:
        pytest.fail(f"{name} {problem}, and {REQUIRED} requires it. {how}")
    pytest.skip(f"{name} {problem}. {how}")
