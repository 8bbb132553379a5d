"""``manage.py policies``: what holds for the calls that this service makes."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from bandstand.client import Policy, configured_policies
from bandstand.conf import get_settings


class Command(BaseCommand):
    """Needs no database and no other service."""

    help = "Show the policies of this service's calls: time-outs, retries, circuit (--json: as they are written)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print what the settings say, as `bandstand policy explain` reads it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        policies = configured_policies()
        if options["json"]:
            settings = get_settings()
            written = {"format": 1, "service": settings.service, "client": settings.client}
            self.stdout.write(msgspec.json.encode(written).decode())
            return
        self._print("all services", policies.default, Policy())
        for service, policy in policies.targets.items():
            self._print(service, policy, policies.default)

    def _print(self, name: str, policy: Policy, usual: Policy) -> None:
        """Print what is different from the usual, which is all of it where nothing is."""
        self.stdout.write(f"{name}:")
        for field in policy.__struct_fields__:
            value = getattr(policy, field)
            mark = "" if value == getattr(usual, field) else "  (of its own)"
            self.stdout.write(f"  {field:<18} {value}{mark}")
