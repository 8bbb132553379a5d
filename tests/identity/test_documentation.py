import re
from pathlib import Path
from typing import Any

from bandstand.identity.checks import check_identity
from tests.identity.conftest import World
from tests.identity.test_forgeries import FORGED, SIGNED, USER_FORGERIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/identity.md").read_text()


def test_the_examples_run(world: World, settings: Any) -> None:
    """Each block of code on the page works as printed, one after the other."""
    settings.BANDSTAND = world.setting(USER_KEY_FILE=world.path("users.json"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "identity.md", "exec"), names)
    settings.MIDDLEWARE = names["MIDDLEWARE"]
    assert check_identity() == []
    assert len(blocks) >= 6


def test_every_reason_is_explained() -> None:
    """The table of reasons knows every word that a token can be refused with."""
    reasons = {reason for _, reason in [*SIGNED.values(), *FORGED.values(), *USER_FORGERIES.values()]} | {"replay"}
    section = PAGE.partition("## Why a token was refused")[2].partition("Besides:")[0]
    first_cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert reasons == set(re.findall(r"`(\w+)`", " ".join(first_cells)))


def test_every_check_is_explained() -> None:
    """The table of checks knows every id in the code."""
    source = (ROOT / "src/bandstand/identity/checks.py").read_text()
    ids = set(re.findall(r"bandstand\.identity\.([EW]\d+)", source))
    assert ids == set(re.findall(r"\b([EW]\d{3})\b", PAGE.partition("## System checks")[2]))
