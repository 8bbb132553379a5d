"""The page on migrations says what the code does."""

import re
from pathlib import Path
from typing import get_args

from bandstand.management.commands.migrate import Command
from bandstand.migrating.findings import Code
from bandstand.migrating.source import places

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "migrate-without-downtime.md").read_text()


def test_every_code_is_documented() -> None:
    """Whoever gets a finding can look it up."""
    assert [code for code in get_args(Code) if f"`{code}`" not in PAGE] == []


def test_the_example_accepts_what_it_says(tmp_path: Path) -> None:
    """The comment is read as printed."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "0008_example.py"
    file.write_text(example)
    [place] = places(file, 1)
    [accepted] = place.accepted
    assert (accepted.code, accepted.reason) == ("removed_column", "no release since 2.3 reads it")


def test_the_waits_are_the_documented_ones() -> None:
    """600 s for another migrator, 3 s for a table."""
    options = vars(Command().create_parser("manage.py", "migrate").parse_args([]))
    assert f"`--wait` seconds ({options['wait']:g})" in PAGE
    assert f"`--lock-timeout` seconds ({options['lock_timeout']:g})" in PAGE


def test_the_word_for_a_pooler_is_the_documented_one() -> None:
    """It is off unless somebody says it."""
    parser = Command().create_parser("manage.py", "migrate")
    assert "`--pooled-by-session`" in PAGE
    assert [vars(parser.parse_args(words))["pooled_by_session"] for words in ([], ["--pooled-by-session"])] == [
        False,
        True,
    ]
