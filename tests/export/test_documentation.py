"""The pages on gateways say what the rendering does."""

import re
from pathlib import Path

import pytest

from bandstand.workspace.export.envoy.problems import local_replies
from bandstand.workspace.manifest import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "gateway.md").read_text()


def test_every_problem_is_documented() -> None:
    """Clients can rely on the codes that the page lists."""
    problems = [mapper["body_format_override"]["json_format"] for mapper in local_replies()["mappers"]]
    listed = re.findall(r"^\| (\d+|other) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert [code for _, code in listed] == [problem["code"] for problem in problems]
    assert [int(status) for status, _ in listed[:-1]] == [problem["status"] for problem in problems[:-1]]


def test_the_example_renders_a_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines work as printed beside a shop."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "bandstand.toml").write_text((ROOT / "shop" / "bandstand.toml").read_text())
    monkeypatch.chdir(tmp_path)
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "gateway.md", "exec"), {})
    assert "41002" in (tmp_path / "gateway" / "eds-user-service.json").read_text()
    assert (tmp_path / "gateway" / "bootstrap.json").is_file()


def test_the_examples_render_a_kong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines work as printed beside the shop, and the table fits into its manifest."""
    (tmp_path / "shop").symlink_to(ROOT / "shop")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "explanation" / "kong.md").read_text()
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "kong.md", "exec"), {})
    assert (tmp_path / "kong" / "kong.conf").is_file()
    assert "half-service.upstream" in (tmp_path / "kong-rules" / "kong.yml").read_text()
    [table] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    kong = parse((ROOT / "shop" / "bandstand.toml").read_text() + table).production.kong
    assert kong.user_keys[0].kid == "users-1"
