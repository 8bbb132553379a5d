"""What the pages on contracts and their commands say."""

import re
from pathlib import Path
from typing import Any, get_args

from typer.testing import CliRunner

from bandstand.cli.app import app
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.subscriptions import REGISTRY
from bandstand.workspace.contracts.findings import Code

REFERENCE = (Path(__file__).parents[2] / "docs/reference/contracts.md").read_text()


def test_the_reference_is_complete_and_runs() -> None:
    """Every code of a finding is explained, and the example works as printed."""
    assert set(re.findall(r"^\| `(\w+)` \| (?:error|warning) \|", REFERENCE, re.MULTILINE)) == set(get_args(Code))
    (example,) = re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page.events"}
    try:
        exec(compile(example, "contracts.md", "exec"), names)
        assert names["MailQueued"] in PUBLICATIONS
    finally:
        REGISTRY.remove("page.send")
        PUBLICATIONS._declared.discard(names["MailQueued"])


def test_help_shows_lines_to_type() -> None:
    """Each command has examples."""
    for command in ("write", "check"):
        assert "Examples:" in CliRunner().invoke(app, ["contracts", command, "--help"]).output
