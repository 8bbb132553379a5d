"""The page on the environment names what there is."""

import re
from pathlib import Path

from bandstand.conf import wire

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "environment.md").read_text()


def variables() -> set[str]:
    source = Path(wire.__file__).read_text().split("# --- environment variables")[1].split("# --- marks")[0]
    return set(re.findall(r'"([A-Z][A-Z_]{3,})"', source))


def test_every_variable_is_on_the_page() -> None:
    """A variable that is added is written down, with what happens without it."""
    listed = set(re.findall(r"^\| `([A-Z_]+)` \| \S", PAGE, re.MULTILINE))
    assert listed == variables() - {wire.TESTING, wire.FAILPOINTS}


def test_every_secret_is_named_as_one_that_may_come_from_a_file() -> None:
    """The list on the page is the list in the code."""
    sentence = PAGE.split("## Secrets from files")[1].split("may come from")[0]
    assert re.findall(r"`([A-Z_]+)`", sentence) == list(wire.SECRETS)
