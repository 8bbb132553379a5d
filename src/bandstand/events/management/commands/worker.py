"""``manage.py worker``."""

from typing import Any

import msgspec
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
        parser.add_argument(
            "--threads", type=int, metavar="N", help="Handlers that run at once, instead of the setting THREADS."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        autodiscover()
        only, threads = options["only"], options["threads"]
        settings = get_settings()
        if threads is not None:
            if threads < 1:
                raise CommandError(f"--threads is {threads}; a worker needs at least one.", returncode=2)
            settings = msgspec.structs.replace(
                settings, events=msgspec.structs.replace(settings.events, threads=threads)
            )
        try:
            Worker(settings, relay=only != "consumer", consume=only != "relay").run()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
