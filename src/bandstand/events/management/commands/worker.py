"""``manage.py worker``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bandstand.conf import get_settings
from bandstand.events.subscriptions import autodiscover
from bandstand.events.worker import Worker
from bandstand.exceptions import ConfigurationError


class Command(BaseCommand):
    """Relays this service's events and handles those of others."""

    help = "Relay this service's events to the broker and handle those that it subscribes to, until SIGTERM."
    requires_migrations_checks = False  # the worker waits for what is missing instead of refusing to start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", choices=("relay", "consumer"), help="Do only one of the two, so that each can be scaled alone."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        autodiscover()
        only = options["only"]
        try:
            Worker(get_settings(), relay=only != "consumer", consume=only != "relay").run()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
