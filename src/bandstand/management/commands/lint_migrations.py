"""``manage.py lint_migrations``: which migrations of this service the release before would not survive."""

from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bandstand.migrating import MigrationFinding, lint

__all__ = ["Command"]


class Command(BaseCommand):
    """Needs no database."""

    help = "Find changes of tables that the release before would break on, or that stop everybody while they run."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what is known already."""
        parser.add_argument(
            "--released", nargs="*", default=[], metavar="FILE", help="files of migrations that are released already"
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON list, as `bandstand check migrations` reads it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings.

        Raises:
            CommandError: there are findings that nobody accepted.
        """
        del args
        findings = list(lint(Path.cwd(), options["released"]))
        if options["json"]:
            self.stdout.write(msgspec.json.encode(findings).decode())
            return
        open_ones = [each for each in findings if each.reason is None]
        for finding in open_ones:
            self._print(finding)
        if open_ones:
            raise CommandError(f"{len(open_ones)} finding(s).")

    def _print(self, finding: MigrationFinding) -> None:
        self.stdout.write(f"{finding.file}:{finding.line}: {finding.code}: {finding.operation}")
        self.stdout.write(f"  {finding.message}")
        self.stdout.write(f"  {finding.instead}")
