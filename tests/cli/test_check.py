"""``bandstand check``, on services that are asked for real."""

import json
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from bandstand.cli.app import app

FILES = {
    "bandstand.toml": """
        platform.name = "warehouse"
        [services.stock-service]
    """,
    "stock-service/manage.py": """
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stock_service.settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "stock-service/stock_service/__init__.py": "",
    "stock-service/stock_service/wsgi.py": "",
    "stock-service/stock_service/settings.py": """
        SECRET_KEY = "tests-only"
        INSTALLED_APPS = ["django.contrib.contenttypes", "bandstand", "items"]
        BANDSTAND = {"SERVICE": "stock-service", "PLATFORM": "warehouse"}
    """,
    "stock-service/items/__init__.py": "",
    "stock-service/items/migrations/__init__.py": "",
    "stock-service/items/migrations/0001_initial.py": """
        from django.db import migrations, models
        class Migration(migrations.Migration):
            operations = [
                migrations.CreateModel("Item", [("id", models.BigAutoField(primary_key=True))]),
            ]
    """,
}
SECOND = """
from django.db import migrations
class Migration(migrations.Migration):
    dependencies = [("items", "0001_initial")]
    operations = [
        migrations.DeleteModel("Item"),
    ]
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(content))
    return tmp_path


def check(folder: Path, *arguments: str, what: str = "migrations") -> tuple[int, str]:
    result = CliRunner().invoke(app, ["-C", str(folder), "check", what, *arguments])
    return result.exit_code, result.output


def test_a_finding_names_service_file_and_line(warehouse: Path) -> None:
    """With what to do instead, and a status that ends a build."""
    (warehouse / "stock-service" / "items" / "migrations" / "0002_gone.py").write_text(SECOND)
    code, output = check(warehouse)
    assert code == 1
    assert "stock-service/items/migrations/0002_gone.py:6: stock-service: Delete model Item (removed_table)" in output
    assert "drop the table in the release after" in output


def test_a_machine_gets_one_object(warehouse: Path) -> None:
    """With accepted findings too, and their reasons."""
    accepted = SECOND.replace('"Item"),', '"Item"),  # bandstand: accept removed_table because nobody used it')
    (warehouse / "stock-service" / "items" / "migrations" / "0002_gone.py").write_text(accepted)
    code, output = check(warehouse, "--json")
    answer = json.loads(output)
    assert (code, answer["ok"]) == (0, True)
    [finding] = answer["findings"]
    assert (finding["service"], finding["reason"]) == ("stock-service", "nobody used it")


def test_what_is_released_is_left_out(warehouse: Path) -> None:
    """A clone tells what the release before has; a revision that it lacks is told."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=warehouse, check=True, capture_output=True)

    (warehouse / "stock-service" / "items" / "migrations" / "0002_gone.py").write_text(SECOND)
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert check(warehouse, "--against", "HEAD")[0] == 0
    code, output = check(warehouse, "--against", "nowhere")
    assert code == 1
    assert "git does not know 'nowhere'" in output


def test_connections_are_added_up(warehouse: Path) -> None:
    """Every web process at the most replicas and one while a release goes on, the worker, commands, and tools."""
    code, output = check(warehouse, "--json", what="connections")
    answer = json.loads(output)
    [service] = answer["services"]
    assert (code, answer["ok"], answer["replicas"]) == (0, True, 7)
    assert service["web"] == 7 * (8 + 1)
    assert answer["total"] == service["web"] + service["worker"] + service["commands"] + 20


def test_too_few_connections_fail(warehouse: Path) -> None:
    """With what to do; what fits exactly passes."""
    total = json.loads(check(warehouse, "--json", what="connections")[1])["total"]
    assert check(warehouse, "--limit", str(total), what="connections")[0] == 0
    code, output = check(warehouse, "--limit", str(total - 1), what="connections")
    assert code == 1
    assert "1 too few" in output
    assert "max_connections" in output
