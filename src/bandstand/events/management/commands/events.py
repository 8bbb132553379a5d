"""``manage.py events``: what is where, and what to do with dead letters."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bandstand.conf import get_settings
from bandstand.events.mending import Mending
from bandstand.events.models import DeadLetter
from bandstand.events.subscriptions import REGISTRY, autodiscover

_CONTROLS: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Command(BaseCommand):
    """Shows and mends."""

    help = "Show where events are (status), and list, show, replay or drop dead letters (dead …)."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        status = commands.add_parser("status", help="what waits in the outbox, and for each subscription")
        status.add_argument("--json", action="store_true", help="print one JSON object")
        dead = commands.add_parser("dead", help="dead letters").add_subparsers(dest="action", required=True)
        for name, text in (
            ("list", "the newest first"),
            ("show", "one in full"),
            ("replay", "handle again, with all attempts"),
            ("drop", "delete for ever"),
        ):
            action = dead.add_parser(name, help=text)
            action.add_argument("ids", nargs="*", type=int, metavar="ID", help="numbers as `dead list` prints them")
            action.add_argument("--subscription", default="", help="only those of this subscription")
            action.add_argument("--type", default="", help="only events of this type")
            action.add_argument("--all", action="store_true", help="all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        autodiscover()
        mending = Mending(get_settings().events.database, REGISTRY)
        if options["command"] == "status":
            self._status(mending, as_json=options["json"])
            return
        chosen = options["ids"] or options["subscription"] or options["type"] or options["all"]
        if options["action"] != "list" and not chosen:
            raise CommandError(
                f"Say which: manage.py events dead {options['action']} ID, --subscription, --type or --all."
            )
        letters = mending.dead_letters(
            subscription=options["subscription"], event_type=options["type"], ids=options["ids"]
        )
        actions: dict[str, Callable[[], None]] = {
            "list": lambda: self._list(letters[:100]),
            "show": lambda: self._show(letters[:20]),
            "replay": lambda: self._replay(mending, letters),
            "drop": lambda: self._say(f"Dropped {mending.drop(letters)}."),
        }
        actions[options["action"]]()

    def _say(self, text: str) -> None:
        """Print what strangers wrote so that it can't speak to the terminal."""
        self.stdout.write(_CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text))

    def _status(self, mending: Mending, *, as_json: bool) -> None:
        status = mending.status()
        if as_json:
            self._say(msgspec.json.encode(status).decode())
            return
        outbox = status.outbox
        self._say(f"outbox: {outbox.pending} waiting, {outbox.parked} parked, oldest {outbox.oldest:.0f} s")
        for each in status.subscriptions:
            where = each.pattern if each.known else "no handler any more"
            self._say(
                f"{each.name} ({where}): {each.waiting} waiting, {each.running} running, {each.dead} dead, "
                f"oldest {each.oldest:.0f} s"
            )

    def _list(self, letters: Any) -> None:
        for letter in letters:
            last = letter.error.strip().splitlines()[-1:] or [""]
            self._say(
                f"{letter.pk}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.subscription}  {letter.type or '?'}  "
                f"{letter.reason}  {last[0][:100]}"
            )
        if not letters:
            self._say("No dead letters.")

    def _show(self, letters: Any) -> None:
        if not letters:
            raise CommandError("There is no such dead letter. See: manage.py events dead list")
        for letter in letters:
            body = bytes(letter.body).decode(errors="backslashreplace")
            self._say(
                f"{letter.pk}: {letter.type} {letter.message_id} from {letter.source or '?'}, key {letter.key!r}\n"
                f"{letter.subscription}: {letter.reason} after {letter.attempts} attempts and {letter.deaths} deaths\n"
                f"{body}\n{letter.error}"
            )

    def _replay(self, mending: Mending, letters: Any) -> None:
        replayed, unreadable = mending.replay(letters.order_by("created_at", "id"))
        self._say(f"Replayed {replayed}.")
        if unreadable:
            raise CommandError(f"{len(unreadable)} can't be read by any handler: {_numbers(unreadable)}. Drop them.")


def _numbers(letters: list[DeadLetter]) -> str:
    return ", ".join(str(letter.pk) for letter in letters)
