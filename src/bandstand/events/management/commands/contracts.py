"""``manage.py contracts``: what this service publishes and reads."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bandstand.events.contracts import Contracts, describe
from bandstand.exceptions import ConfigurationError


class Command(BaseCommand):
    """Needs no database and no broker."""

    help = "Show which events this service publishes and reads, with their JSON Schemas (--json)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, as `bandstand contracts` reads it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        try:
            contracts = describe()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(msgspec.json.encode(contracts).decode())
        else:
            self._print(contracts)

    def _print(self, contracts: Contracts) -> None:
        for publication in contracts.publishes:
            self.stdout.write(f"publishes {publication.type} v{publication.version} ({publication.name})")
        for consumption in contracts.consumes:
            views = ", ".join(
                view.name if view.version is None else f"{view.name} v{view.version}" for view in consumption.views
            )
            self.stdout.write(f"reads {consumption.pattern} in {consumption.subscription} ({views})")
