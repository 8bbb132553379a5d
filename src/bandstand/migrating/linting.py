"""Walks through the migrations of a service, as Django would apply them, and asks the rules about each operation."""

import importlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.utils import ConnectionHandler

from bandstand.migrating.findings import MigrationFinding
from bandstand.migrating.rules import Change, Fault, faults, table_made
from bandstand.migrating.source import Place, places

__all__ = ["lint"]

_SCHEMA: Final = (operations.AddField, operations.AlterField, operations.RemoveField, operations.RenameField)


def lint(root: Path, released: Collection[str] = ()) -> Iterator[MigrationFinding]:
    """Yield what is wrong with the migrations whose files are below ``root``; no database is asked.

    ``released`` are files, relative to ``root``, that the release before has applied: nothing is said of them. Of what
    is not in there, tables that it makes itself may be changed at will; without any, each migration by itself.
    """
    walk = _Walk(root.resolve(), frozenset(released))
    loader = MigrationLoader(None)
    state = ProjectState()
    state.real_apps = loader.unmigrated_apps
    seen: set[tuple[str, str]] = set()
    for leaf in sorted(loader.graph.leaf_nodes()):
        for key in loader.graph.forwards_plan(leaf):
            if key not in seen:
                seen.add(key)
                yield from walk.migration(loader.graph.nodes[key], state)


class _Walk:
    def __init__(self, root: Path, released: frozenset[str]) -> None:
        self._root = root
        self._released = released
        self._connection = _postgresql()
        self._unreleased_tables: set[str] = set()

    def migration(self, migration: Migration, state: ProjectState) -> Iterator[MigrationFinding]:
        """Yield what is wrong with ``migration``, and take ``state`` over it."""
        file = Path(importlib.import_module(migration.__module__).__file__ or "")
        name = self._name(file)
        if name is None or name in self._released:
            migration.mutate_state(state, preserve=False)
            return
        made: set[str] = self._unreleased_tables if self._released else set()
        for operation, place in zip(migration.operations, places(file, len(migration.operations)), strict=True):
            found = [*self._faults(migration, operation, state, made), *_mixed(migration, operation)]
            yield from _told(found, migration, operation, place, name)

    def _faults(self, migration: Migration, operation: Operation, state: ProjectState, made: set[str]) -> list[Fault]:
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        found: list[Fault] = []
        step = before
        for inner in _in_database(operation):
            after = step.clone()
            inner.state_forwards(migration.app_label, after)
            change = Change(
                app=migration.app_label,
                operation=inner,
                before=step,
                after=after,
                new_tables=frozenset(made),
                connection=self._connection,
            )
            found += faults(change)
            made.update(filter(None, [table_made(change)]))
            step = after
        return found

    def _name(self, file: Path) -> str | None:
        """The name of a file of the service itself; None for those of packages that it uses."""
        path = file.resolve()
        if not path.is_relative_to(self._root) or "site-packages" in path.parts:
            return None
        return path.relative_to(self._root).as_posix()


def _in_database(operation: Operation) -> list[Operation]:
    """What the operation does to the database: of one that is split, that part alone."""
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return list(operation.database_operations)
    return [operation]


def _mixed(migration: Migration, operation: Operation) -> Iterator[Fault]:
    """Data that moves inside of a transaction that changed a table holds that table's lock as long."""
    if not isinstance(operation, operations.RunPython) or not migration.atomic:
        return
    if any(isinstance(each, _SCHEMA) for each in migration.operations):
        yield Fault(
            "data_with_schema",
            "Data is moved in the transaction that changed a table, so nobody may read that table until it ends.",
            "Move data in a migration of its own, in batches, with atomic = False.",
        )


def _told(
    found: list[Fault], migration: Migration, operation: Operation, place: Place, file: str
) -> Iterator[MigrationFinding]:
    reasons = {each.code: each.reason for each in place.accepted}
    where: dict[str, Any] = {
        "app": migration.app_label,
        "migration": migration.name,
        "file": file,
        "operation": operation.describe(),
    }
    for fault in found:
        yield MigrationFinding(
            **where,
            code=fault.code,
            line=place.line,
            message=fault.message,
            instead=fault.instead,
            reason=reasons.get(fault.code),
        )
    for each in place.accepted:
        if each.code in {fault.code for fault in found} and each.reason is None:
            yield MigrationFinding(
                **where,
                code="no_reason",
                line=each.line,
                message=f"{each.code} is accepted without a reason, and so not at all.",
                instead=f"Write why: # bandstand: accept {each.code} because …",
            )
        elif each.code not in {fault.code for fault in found} and place.line > 1:
            yield MigrationFinding(
                **where,
                code="nothing_to_accept",
                line=each.line,
                message=f"{each.code} is accepted here, but is not the case.",
                instead="Remove the comment.",
            )


def _postgresql() -> BaseDatabaseWrapper:
    """A connection that is never made: it knows the types of columns."""
    handler = ConnectionHandler({DEFAULT_DB_ALIAS: {"ENGINE": "django.db.backends.postgresql"}})
    connection: BaseDatabaseWrapper = handler[DEFAULT_DB_ALIAS]
    return connection
