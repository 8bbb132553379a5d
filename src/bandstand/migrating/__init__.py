"""Migrations that may begin in many places at once, under load, and that the previous release survives.

- ``guard``: ``manage.py migrate`` under one lock for each database, which waits for nobody's long query.
- ``linting``: ``manage.py lint_migrations``, and ``bandstand check migrations`` for all services: changes of tables
  that the release before would break on, or that stop everybody while they run.

``rules`` are the rules one by one, ``source`` reads lines and accepted findings from the files.
"""

from bandstand.migrating.findings import MigrationFinding
from bandstand.migrating.guard import MigrationGuard
from bandstand.migrating.linting import lint

__all__ = ["MigrationFinding", "MigrationGuard", "lint"]
