"""``manage.py events``: what is where, the way of an event, and what to do with dead letters."""

import getpass
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bandstand.conf import get_settings
from bandstand.events import telling
from bandstand.events.brokers import BrokerOptions, build_broker
from bandstand.events.desk import DeadLetterDesk, add_dead_letter_arguments
from bandstand.events.mending import Mending
from bandstand.events.status import read_status
from bandstand.events.subscriptions import REGISTRY, autodiscover
from bandstand.events.tracing import Question, Tracer
from bandstand.exceptions import ConfigurationError


class Command(BaseCommand):
    """Shows and mends. Exit status: 0 done, 1 not (or not all), 2 written wrong."""

    help = "Show where events are (status), follow one (trace), and mend what failed for good (dead …)."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        status = commands.add_parser("status", help="what waits in the outbox, at the broker and in retries")
        status.add_argument("--json", action="store_true", help="print one JSON object")
        trace = commands.add_parser("trace", help="the way of an event, or of all of a correlation id")
        trace.add_argument("ids", nargs="+", metavar="ID", help="an event's id or a correlation id")
        trace.add_argument(
            "--json",
            action="store_true",
            help="print one JSON object; with `-` as the ID, one for each question (a line of JSON) on standard input",
        )
        add_dead_letter_arguments(commands.add_parser("dead", help="dead letters"))

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        autodiscover()
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "status": self._status,
            "trace": self._trace,
            "dead": self._dead,
        }
        actions[options["command"]](options)

    def _status(self, options: dict[str, Any]) -> None:
        settings = get_settings()
        try:
            broker = build_broker(
                settings.events.broker_url, BrokerOptions(platform=settings.platform, service=settings.service)
            )
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        status = read_status(settings.events.database, REGISTRY, service=settings.service, broker=broker)
        if options["json"]:
            self._say(msgspec.json.encode(status).decode())
            return
        for line in telling.status_lines(status):
            self._say(line)

    def _trace(self, options: dict[str, Any]) -> None:
        settings = get_settings()
        tracer = Tracer(settings.events.database, REGISTRY, service=settings.service)
        if options["ids"] == ["-"] and options["json"]:
            for line in sys.stdin:
                question = msgspec.json.decode(line, type=Question)
                self._say(msgspec.json.encode(tracer.trace(question)).decode())
                self.stdout.flush()
            return
        trace = tracer.trace(Question(ids=tuple(options["ids"])))
        if not trace.events and not trace.deliveries:
            message = (
                f"{settings.service} knows no event and no correlation of that id: it published none in the last "
                f"{settings.events.outbox_retention / 3600:.0f} hours, and handled none."
            )
            if options["json"]:
                error = {"code": "unknown_event", "message": message}
                self._say(msgspec.json.encode({"error": error}).decode())
            raise CommandError(message)
        if options["json"]:
            self._say(msgspec.json.encode(trace).decode())
        else:
            for line in telling.trace_lines(trace, options["ids"]):
                self._say(line)

    def _dead(self, options: dict[str, Any]) -> None:
        mending = Mending(get_settings().events.database, REGISTRY, by=_user())
        DeadLetterDesk(mending, say=self._say).do(options)

    def _say(self, line: str) -> None:
        self.stdout.write(line)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
