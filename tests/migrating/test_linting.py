"""What the release before would not survive, one operation at a time."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent, indent

import pytest
from django.test import modify_settings

from bandstand.migrating import MigrationFinding, lint

_NUMBERS = count()

HEAD = """
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models
from django.db.models.functions import Now

class Migration(migrations.Migration):
"""
FIRST = """
operations = [
    migrations.CreateModel("Item", [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=50)),
        ("note", models.CharField(max_length=50, null=True)),
        ("made", models.DateTimeField(db_default=Now())),
    ]),
    migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
]
"""

Lint = Callable[..., list[MigrationFinding]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lint]:
    """Lint the operations of a migration that follows a released one."""
    app = f"lintable_{next(_NUMBERS)}"
    folder = tmp_path / app / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / app / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "0001_first.py").write_text(HEAD + indent(FIRST, "    "))
    monkeypatch.syspath_prepend(str(tmp_path))

    def lint_second(operations: str, *, head: str = "", released: bool = True) -> list[MigrationFinding]:
        body = f"{head}dependencies = [({app!r}, '0001_first')]\noperations = [\n{dedent(operations).strip()}\n]\n"
        (folder / "0002_second.py").write_text(HEAD + indent(body, "    "))
        return list(lint(tmp_path, [f"{app}/migrations/0001_first.py"] if released else []))

    with modify_settings(INSTALLED_APPS={"append": app}):
        yield lint_second
    for name in [name for name in sys.modules if name.startswith(app)]:
        del sys.modules[name]


UNSAFE = {
    'migrations.RemoveField("item", "note")': ["removed_column"],
    'migrations.DeleteModel("Shelf")': ["removed_table"],
    'migrations.RenameField("item", "note", "remark")': ["renamed_column"],
    'migrations.RenameModel("Item", "Article")': ["renamed_table"],
    'migrations.AlterModelTable("item", "articles")': ["renamed_table"],
    'migrations.AddField("item", "count", models.IntegerField(default=0))': ["not_null"],
    'migrations.AddField("item", "count", models.IntegerField())': ["not_null"],
    'migrations.AddField("item", "code", models.CharField(max_length=9, null=True, unique=True))': ["blocking_index"],
    'migrations.AddField("item", "code", models.CharField(max_length=9, null=True, db_index=True))': ["blocking_index"],
    (
        'migrations.AddField("item", "shelf", '
        f'models.ForeignKey("{"{app}"}.shelf", on_delete=models.CASCADE, null=True))'
    ): ["blocking_index"],
    'migrations.AlterField("item", "note", models.CharField(max_length=50))': ["not_null"],
    'migrations.AlterField("item", "made", models.DateTimeField())': ["not_null"],
    'migrations.AlterField("item", "name", models.CharField(max_length=20))': ["changed_type"],
    'migrations.AlterField("item", "name", models.IntegerField())': ["changed_type"],
    'migrations.AlterField("item", "name", models.CharField(max_length=50, unique=True))': ["blocking_index"],
    'migrations.AlterField("item", "name", models.CharField(max_length=50, db_column="title"))': ["renamed_column"],
    'migrations.AddIndex("item", models.Index(fields=["name"], name="by_name"))': ["blocking_index"],
    ('migrations.AddConstraint("item", models.UniqueConstraint(fields=["name"], name="one_name"))'): [
        "blocking_constraint"
    ],
    ('migrations.AddConstraint("item", models.CheckConstraint(condition=models.Q(id__gt=0), name="positive"))'): [
        "blocking_constraint"
    ],
    'migrations.AlterUniqueTogether("item", {("name", "note")})': ["blocking_constraint"],
    'migrations.RunSQL("ALTER TABLE x DROP COLUMN y")': ["raw_sql"],
    'migrations.RunSQL("create unique index a on x (y)")': ["raw_sql"],
    'migrations.RunSQL([("ALTER TABLE x ALTER COLUMN y TYPE text", None)])': ["raw_sql"],
    'migrations.RunSQL("ALTER TABLE x ALTER y SET NOT NULL")': ["raw_sql"],
    'migrations.RunSQL("LOCK TABLE x")': ["raw_sql"],
    'migrations.RunSQL("VACUUM FULL x")': ["raw_sql"],
    (
        'migrations.AddField("item", "count", models.IntegerField(null=True)),'
        "migrations.RunPython(migrations.RunPython.noop)"
    ): ["data_with_schema"],
    'migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("item", "note")])': [
        "removed_column"
    ],
}

SAFE = [
    'migrations.AddField("item", "count", models.IntegerField(null=True))',
    'migrations.AddField("item", "count", models.IntegerField(db_default=0))',
    'migrations.AddField("item", "shelves", models.ManyToManyField("{app}.shelf"))',
    'migrations.AlterField("item", "name", models.CharField(max_length=200))',
    'migrations.AlterField("item", "name", models.TextField())',
    'migrations.AlterField("item", "name", models.CharField(max_length=50, null=True))',
    'migrations.AlterField("item", "name", models.CharField(max_length=50, help_text="the name"))',
    'migrations.RenameField("item", "note", "note")',
    'migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("item", "note")])',
    'migrations.AddConstraint("shelf2", models.UniqueConstraint(fields=["x"], name="one_x"))',
    'migrations.RemoveIndex("shelf2", "by_x")',
    'AddConstraintNotValid("item", models.CheckConstraint(condition=models.Q(id__gt=0), name="positive"))',
    'migrations.RunSQL("CREATE INDEX CONCURRENTLY a ON x (y) -- DROP TABLE x")',
    'migrations.RunSQL("UPDATE x SET y = 1")',
    "migrations.RunPython(migrations.RunPython.noop)",
    'migrations.AlterModelOptions("item", {"ordering": ["name"]})',
]
NEW_TABLE = """
migrations.CreateModel("Shelf2", [("id", models.BigAutoField(primary_key=True)), ("x", models.IntegerField())]),
migrations.AddIndex("shelf2", models.Index(fields=["x"], name="by_x")),
"""


def named(operations: str, tmp_path: Path) -> str:
    [app] = [path.name for path in tmp_path.iterdir() if path.name.startswith("lintable_")]
    return operations.replace("{app}", app)


@pytest.mark.parametrize("operations", UNSAFE)
def test_what_breaks_the_release_before_is_found(project: Lint, tmp_path: Path, operations: str) -> None:
    """Every kind of the list is found, and nothing else beside it."""
    assert [each.code for each in project(named(operations, tmp_path))] == UNSAFE[operations]


@pytest.mark.parametrize("operations", SAFE)
def test_what_it_survives_is_not_found(project: Lint, tmp_path: Path, operations: str) -> None:
    """The ways around the faults are free, and so are tables that are new with this release."""
    made = NEW_TABLE if "shelf2" in operations else ""
    assert project(named(f"{made}{operations}", tmp_path)) == []


def test_an_index_that_is_built_beside_is_not_found(project: Lint) -> None:
    """Where the migration is not atomic, as Django wants it."""
    operation = 'AddIndexConcurrently("item", models.Index(fields=["name"], name="by_name"))'
    assert project(operation, head="atomic = False\n") == []


def test_a_finding_says_where_and_what_to_do(project: Lint) -> None:
    """File and line of the operation, what it is, why that is a fault, and what to do instead."""
    [finding] = project("""
        migrations.RunSQL("SELECT 1"),
        migrations.RemoveField(
            "item",
            "note",
        ),
    """)
    assert finding.file.endswith("/migrations/0002_second.py")
    assert finding.line == 10
    assert finding.migration == "0002_second"
    assert "note" in finding.operation
    assert "still reads and writes note" in finding.message
    assert "state_operations" in finding.instead
    assert finding.reason is None


@pytest.mark.parametrize(
    "comment",
    [
        "# bandstand: accept removed_column because no release since 2.3 reads it",
        "# It was a mistake.\n# bandstand: accept removed_column because no release since 2.3 reads it",
    ],
)
def test_a_finding_can_be_accepted_with_a_reason(project: Lint, comment: str) -> None:
    """Above the operation or on its lines; the reason stays in the file, for whoever asks later."""
    above = project(f'{comment}\nmigrations.RemoveField("item", "note"),')
    assert [(each.code, each.reason) for each in above] == [("removed_column", "no release since 2.3 reads it")]


def test_a_finding_can_be_accepted_on_its_line(project: Lint) -> None:
    """As every other comment for a checker."""
    [finding] = project('migrations.DeleteModel("Shelf"),  # bandstand: accept removed_table because it was never used')
    assert finding.reason == "it was never used"


def test_a_reason_is_needed(project: Lint) -> None:
    """Without one nothing is accepted."""
    found = project('# bandstand: accept removed_column\nmigrations.RemoveField("item", "note"),')
    assert [(each.code, each.reason) for each in found] == [("removed_column", None), ("no_reason", None)]


def test_what_is_accepted_must_be_the_case(project: Lint) -> None:
    """A comment that outlived its operation would hide the next fault."""
    [finding] = project('# bandstand: accept not_null because of this\nmigrations.RunSQL("SELECT 1"),')
    assert finding.code == "nothing_to_accept"


def test_released_migrations_are_not_looked_at(project: Lint) -> None:
    """What the release before has applied can't break it any more."""
    removal = 'migrations.RemoveField("item", "note")'
    assert [each.code for each in project(removal)] == ["removed_column"]
    assert [each.code for each in project(removal, released=False)] == ["removed_column"]


def test_packages_of_others_are_not_looked_at(tmp_path: Path) -> None:
    """Django's own migrations are not of this service."""
    assert list(lint(tmp_path)) == []
