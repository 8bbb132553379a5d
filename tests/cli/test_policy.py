"""``bandstand policy explain`` on a platform whose services are only asked for their settings."""

import json
from pathlib import Path

import pytest

from .test_commands import run

MANIFEST = """
[platform]
name = "tiny"

[services.a-service]
calls = ["b-service"]
policies.b-service = { timeout = 0.3 }

[services.b-service]
"""

ANSWER = 'print(\'{"format": 1, "service": "a-service", "client": {"RETRIES": 1}}\')\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in ("a-service", "b-service"):
        package = tmp_path / name / name.replace("-", "_")
        package.mkdir(parents=True)
        (package / "wsgi.py").touch()
        (tmp_path / name / "manage.py").write_text(ANSWER)
    (tmp_path / "bandstand.toml").write_text(MANIFEST)
    return tmp_path


def test_people_read_values_sources_and_the_worst_case(workspace: Path) -> None:
    """Each value stands beside its source, and below them what a call costs at worst."""
    shown = run("policy", "explain", "a-service", "b-service", "-C", workspace)
    assert shown.exit_code == 0
    lines = {" ".join(line.split()) for line in shown.stdout.splitlines()}
    assert "timeout 0.3 bandstand.toml: [services.a-service.policies.b-service]" in lines
    assert 'retries 1 settings of a-service: BANDSTAND["CLIENT"]' in lines
    assert "connect_timeout 0.5 default" in lines
    assert "One call, at worst: 2 attempts" in shown.stdout


def test_machines_read_one_object(workspace: Path) -> None:
    """With --json there is one object with all that people see."""
    found = json.loads(run("policy", "explain", "a-service", "b-service", "-C", workspace, "--json").stdout)
    assert found["policy"]["timeout"]["value"] == 0.3
    assert found["chains"] == [{"services": ["a-service", "b-service"], "attempts": 2, "blind": 2, "seconds": 0.3}]
    assert found["notices"] == []


def test_a_service_that_does_not_answer_is_a_notice(workspace: Path) -> None:
    """What a service's own settings would say is then left out, and that is said."""
    (workspace / "a-service" / "manage.py").write_text("raise SystemExit('no Django here')\n")
    shown = run("policy", "explain", "a-service", "b-service", "-C", workspace)
    assert shown.exit_code == 0
    assert "retries 2 default" in {" ".join(line.split()) for line in shown.stdout.splitlines()}
    assert "only the manifest counts" in shown.stderr


def test_a_pair_that_does_not_call_is_an_error(workspace: Path) -> None:
    """Who asks for a call that is not made learns which are."""
    shown = run("policy", "explain", "b-service", "a-service", "-C", workspace)
    assert shown.exit_code == 1
    assert "b-service does not call a-service" in shown.stderr


def test_help_has_examples() -> None:
    """The help page shows a line that can be typed."""
    assert "bandstand policy explain order-service user-service" in run("policy", "explain", "--help").stdout
