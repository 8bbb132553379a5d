"""A small service whose migrations take their time, and a database for each test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from bandstand.testing import EphemeralPostgres
from tests.integration.optional.pgbouncer import PgBouncer

RACE = Path(__file__).with_name("race.py")
SETTINGS = """
import os, dj_database_url
SECRET_KEY = "tests-only"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "bandstand", "stock"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], engine="bandstand.postgresql")}
BANDSTAND = {"SERVICE": "stock-service", "PLATFORM": "tests"}
"""
MODELS = """
from django.db import models
class Item(models.Model):
    name = models.CharField(max_length=50)
    count = models.IntegerField(null=True)
"""
FIRST = """
from django.db import migrations, models
class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Item",
            [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=50))],
        ),
        migrations.RunSQL("SELECT pg_sleep(%s)"),
    ]
"""
SECOND = """
from django.db import migrations
def fill(apps, schema_editor):
    apps.get_model("stock", "Item").objects.create(name="one")
class Migration(migrations.Migration):
    dependencies = [("stock", "0001_first")]
    operations = [migrations.RunPython(fill)]
"""
THIRD = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("stock", "0002_second")]
    operations = [migrations.AddField("item", "count", models.IntegerField(null=True))]
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


class StockService:
    """A Django project in a folder of its own, on a database of its own, behind a ``pooler`` if it has one."""

    def __init__(self, folder: Path, server: EphemeralPostgres, *, nap: float) -> None:
        self.folder = folder
        self._server = server
        self.url = ""
        self.pooler: PgBouncer | None = None
        self.new_database()
        files = {
            "settings.py": SETTINGS,
            "manage.py": MANAGE,
            "stock/__init__.py": "",
            "stock/models.py": MODELS,
            "stock/migrations/__init__.py": "",
            "stock/migrations/0001_first.py": FIRST.replace("%s", str(nap)),
            "stock/migrations/0002_second.py": SECOND,
            "stock/migrations/0003_third.py": THIRD,
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(dedent(content))

    def new_database(self) -> None:
        name = f"stock_{uuid4().hex[:12]}"
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        self.url = self._server.url.rpartition("/")[0] + f"/{name}"

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), *sys.path])
        url = self.pooler.url(self.url.rpartition("/")[2]) if self.pooler else self.url
        return {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": path}

    def race(self, count: int, kind: str = "guarded", **options: Any) -> list[dict[str, Any]]:
        """Migrate in ``count`` processes at once, and return how each ended."""
        command = [sys.executable, str(RACE), str(count), kind, json.dumps(options)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return found

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``manage.py migrate`` as a deployment does."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--no-input", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.url, autocommit=True)

    def ask(self, statement: str) -> Any:
        with self.connect() as connection:
            row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
            return row[0] if row else None


@pytest.fixture(scope="module")
def server() -> Iterator[EphemeralPostgres]:
    with EphemeralPostgres() as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, server: EphemeralPostgres) -> StockService:
    return StockService(tmp_path, server, nap=0.3)


@pytest.fixture
def slow_service(tmp_path: Path, server: EphemeralPostgres) -> StockService:
    """Its first migration takes longer than any test waits."""
    return StockService(tmp_path, server, nap=3600)
