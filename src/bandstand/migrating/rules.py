"""The rules, one function for each kind of operation. A rule knows the tables before and after the operation.

They speak of tables that the release before uses. A table that is made by what is checked may be changed at will.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED

from bandstand.migrating.findings import Code

__all__ = ["Change", "Fault", "faults", "table_made"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of an app between two states; ``new_tables`` are those that the release before does not know."""

    app: str
    operation: Operation
    before: ProjectState
    after: ProjectState
    new_tables: frozenset[str]
    connection: BaseDatabaseWrapper

    def was(self, name: str) -> Any:
        """What the model ``name`` was, as Django's ``_meta`` says it."""
        return self.before.apps.get_model(self.app, name)._meta  # noqa: SLF001 - documented in spite of its name

    def becomes(self, name: str) -> Any:
        """What the model ``name`` becomes, as Django's ``_meta`` says it."""
        return self.after.apps.get_model(self.app, name)._meta  # noqa: SLF001 - as above

    def is_used(self, name: str) -> bool:
        """Whether the release before uses the table of the model ``name``."""
        was = self.was(name)
        return bool(was.managed) and not was.proxy and was.db_table not in self.new_tables

    def column_type(self, field: Any) -> str | None:
        return field.db_type(self.connection)  # type: ignore[no-any-return]


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with an operation, and what to do instead."""

    code: Code
    message: str
    instead: str


def faults(change: Change) -> Iterator[Fault]:
    """Yield what is wrong with the change."""
    for kind, rule in _RULES.items():
        if type(change.operation) is kind:
            yield from rule(change, change.operation)


def table_made(change: Change) -> str | None:
    """Return the table that the operation makes, if it makes one."""
    if isinstance(change.operation, operations.CreateModel):
        return str(change.becomes(change.operation.name).db_table)
    return None


def _remove_field(change: Change, operation: Any) -> Iterator[Fault]:
    field = change.was(operation.model_name).get_field(operation.name)
    if change.is_used(operation.model_name) and (field.column or field.many_to_many):
        yield Fault(
            "removed_column",
            f"The release before still reads and writes {operation.name}, and fails without it.",
            "Release the model without the field first, with the removal in the state alone "
            "(SeparateDatabaseAndState, state_operations) and the column nullable or with a db_default; "
            "drop the column in the release after.",
        )


def _delete_model(change: Change, operation: Any) -> Iterator[Fault]:
    if change.is_used(operation.name):
        yield Fault(
            "removed_table",
            f"The release before still uses the table of {operation.name}.",
            "Release the code without the model first, with the removal in the state alone "
            "(SeparateDatabaseAndState, state_operations); drop the table in the release after.",
        )


def _rename_field(change: Change, operation: Any) -> Iterator[Fault]:
    old = change.was(operation.model_name).get_field(operation.old_name)
    new = change.becomes(operation.model_name).get_field(operation.new_name)
    if change.is_used(operation.model_name) and old.column != new.column:
        yield _renamed_column(old.column, new.column)


def _renamed_column(old: str, new: str) -> Fault:
    return Fault(
        "renamed_column",
        f"The release before still asks for {old}, not {new}.",
        f'Keep the column by db_column="{old}" and rename the field in Python alone; or add a new column, write both, '
        f"move the data, and drop the old one in a later release.",
    )


def _rename_model(change: Change, operation: Any) -> Iterator[Fault]:
    old, new = change.was(operation.old_name).db_table, change.becomes(operation.new_name).db_table
    if change.is_used(operation.old_name) and old != new:
        yield _renamed_table(old, new)


def _alter_table(change: Change, operation: Any) -> Iterator[Fault]:
    old, new = change.was(operation.name).db_table, change.becomes(operation.name).db_table
    if change.is_used(operation.name) and old != new:
        yield _renamed_table(old, new)


def _renamed_table(old: str, new: str) -> Fault:
    return Fault(
        "renamed_table",
        f"The release before still asks for the table {old}, not {new}.",
        f'Keep the table by Meta.db_table = "{old}".',
    )


def _add_field(change: Change, operation: Any) -> Iterator[Fault]:
    if not change.is_used(operation.model_name):
        return
    field = change.becomes(operation.model_name).get_field(operation.name)
    if field.many_to_many or field.column is None:  # a table of its own, or none
        return
    if not field.null and not _has_database_default(field) and not field.primary_key:
        yield Fault(
            "not_null",
            f"The release before inserts rows without {operation.name}, and PostgreSQL refuses them: a default of "
            f"Python's is not kept in the table.",
            "Give the field a db_default, or null=True in this release and null=False in a later one.",
        )
    if _has_index(field):
        yield _blocking_index(operation.name)


def _alter_field(change: Change, operation: Any) -> Iterator[Fault]:
    if not change.is_used(operation.model_name):
        return
    old = change.was(operation.model_name).get_field(operation.name)
    new = change.becomes(operation.model_name).get_field(operation.name)
    if old.column != new.column and old.column and new.column:
        yield _renamed_column(old.column, new.column)
    if _narrows(change.column_type(old), change.column_type(new)):
        yield Fault(
            "changed_type",
            f"{operation.name} becomes {change.column_type(new)} instead of {change.column_type(old)}: the table is "
            f"rewritten while nobody may read it, and the release before may write what does not fit.",
            "Add a new column of the new type, write both, move the data in batches, and drop the old one later.",
        )
    if old.null and not new.null:
        yield Fault(
            "not_null",
            f"The release before may still write NULL into {operation.name}, and every row is read under a lock.",
            "First release code that never writes NULL; then add a CHECK (… IS NOT NULL) with AddConstraintNotValid, "
            "validate it with ValidateConstraint, and set null=False in the release after.",
        )
    elif _has_database_default(old) and not _has_database_default(new) and not new.null:
        yield Fault(
            "not_null",
            f"The release before may rely on the db_default of {operation.name} when it inserts.",
            "Keep the db_default until no release relies on it.",
        )
    if _has_index(new) and not _has_index(old):
        yield _blocking_index(operation.name)


def _add_index(change: Change, operation: Any) -> Iterator[Fault]:
    if change.is_used(operation.model_name):
        yield _blocking_index(operation.index.name)


def _add_constraint(change: Change, operation: Any) -> Iterator[Fault]:
    if not change.is_used(operation.model_name):
        return
    name = operation.constraint.name
    if isinstance(operation.constraint, models.CheckConstraint):
        yield Fault(
            "blocking_constraint",
            f"Every row is read for {name} while nobody may write, and the release before may write what it refuses.",
            "Add it with AddConstraintNotValid, and validate it with ValidateConstraint in a migration of its own.",
        )
    else:
        yield _blocking_constraint(name)


def _alter_unique_together(change: Change, operation: Any) -> Iterator[Fault]:
    if not change.is_used(operation.name):
        return
    old = {tuple(names) for names in change.was(operation.name).unique_together}
    added = [names for names in change.becomes(operation.name).unique_together if tuple(names) not in old]
    for names in added:
        yield _blocking_constraint(", ".join(names))


def _blocking_index(name: str) -> Fault:
    return Fault(
        "blocking_index",
        f"Nobody may write the table while the index for {name} is built.",
        "Build it with AddIndexConcurrently (django.contrib.postgres.operations) in a migration with atomic = False; "
        "for a new field, add it without an index first.",
    )


def _blocking_constraint(name: str) -> Fault:
    return Fault(
        "blocking_constraint",
        f"Nobody may write the table while the unique index for {name} is built, and the release before may write "
        f"what it refuses.",
        "Build the unique index with RunSQL (CREATE UNIQUE INDEX CONCURRENTLY …) in a migration with atomic = False, "
        "and add the constraint to the state alone (SeparateDatabaseAndState).",
    )


_RISKY_SQL: Final = re.compile(
    r"\b(DROP\s+(TABLE|COLUMN)|RENAME\s+(TO|COLUMN|CONSTRAINT)|ALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE"
    r"|SET\s+NOT\s+NULL|CREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)|VACUUM\s+FULL|LOCK\s+TABLE|TRUNCATE|CLUSTER"
    r"|REINDEX\s+(?!.*CONCURRENTLY))\b",
    re.IGNORECASE,
)


def _run_sql(_change: Change, operation: Any) -> Iterator[Fault]:
    if found := _RISKY_SQL.search(_without_comments(operation.sql)):
        yield Fault(
            "raw_sql",
            f"{' '.join(found[0].split()).upper()} breaks the release before, or stops everybody while it runs.",
            "Do it in steps that the release before survives, or accept it with the reason why this table allows it.",
        )


def _without_comments(sql: Any) -> str:
    parts = [sql] if isinstance(sql, str) else [part if isinstance(part, str) else part[0] for part in sql]
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", ";".join(parts), flags=re.DOTALL)


def _has_database_default(field: Any) -> bool:
    generated = bool(getattr(field, "generated", False))
    return generated or field.db_default is not NOT_PROVIDED or isinstance(field, models.AutoField)


def _has_index(field: Any) -> bool:
    return bool(field.column and (field.db_index or field.unique))


_LENGTH: Final = re.compile(r"\A(?P<name>varchar|varbit|numeric)\((?P<length>\d+)(,\s*(?P<scale>\d+))?\)\Z")


def _narrows(old: str | None, new: str | None) -> bool:
    """Whether PostgreSQL rewrites or rechecks the table: not where a text becomes longer or boundless."""
    if old == new or old is None or new is None:
        return False
    before, after = _LENGTH.match(old), _LENGTH.match(new)
    if before and new == "text":
        return before["name"] != "varchar"
    if before and after and (before["name"], before["scale"]) == (after["name"], after["scale"]):
        return int(after["length"]) < int(before["length"])
    return True


_RULES: Final[Mapping[type[Operation], Callable[[Change, Any], Iterator[Fault]]]] = {
    operations.RemoveField: _remove_field,
    operations.DeleteModel: _delete_model,
    operations.RenameField: _rename_field,
    operations.RenameModel: _rename_model,
    operations.AlterModelTable: _alter_table,
    operations.AddField: _add_field,
    operations.AlterField: _alter_field,
    operations.AddIndex: _add_index,
    operations.AddConstraint: _add_constraint,
    operations.AlterUniqueTogether: _alter_unique_together,
    operations.RunSQL: _run_sql,
}
