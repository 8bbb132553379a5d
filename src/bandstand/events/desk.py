"""``manage.py events dead``: dead letters listed, shown, replayed, edited and dropped."""

import argparse
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from django.core.management.base import CommandError
from django.db.models import BigIntegerField, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bandstand.events import telling
from bandstand.events.mending import Choice, LetterChanged, Mending, Outcome, Replayed, data_of, pretty
from bandstand.events.models import DeadLetter
from bandstand.exceptions import InvalidEvent

__all__ = ["DeadLetterDesk", "add_dead_letter_arguments"]

_LISTED: Final = 100
_SHOWN: Final = 20
_MOST: Final = 10**9
_POLL: Final = 0.1
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add_dead_letter_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in (("list", "the newest first"), ("show", "in full, with data and traceback")):
        action = _chosen(actions.add_parser(name, help=text))
        most = _LISTED if name == "list" else _SHOWN
        action.add_argument("--limit", type=_count, default=most, metavar="N", help=f"at most so many ({most})")
    replay = _chosen(actions.add_parser("replay", help="handle again, with all attempts"))
    replay.add_argument(
        "--wait", type=_seconds, default=0.0, metavar="SECONDS", help="wait for what becomes of them, and tell it"
    )
    drop = _chosen(actions.add_parser("drop", help="delete for ever"))
    drop.add_argument("--yes", action="store_true", help="do not ask")
    edit = _told(actions.add_parser("edit", help="change the event's data, in $EDITOR unless they are given"))
    edit.add_argument("ids", nargs=1, type=_number, metavar="ID", help="number as `dead list` prints it")
    given = edit.add_mutually_exclusive_group()
    given.add_argument("--data", metavar="JSON", help="the new data")
    given.add_argument("--file", metavar="PATH", help="a file with the new data; - is standard input")


def _told(action: argparse.ArgumentParser) -> argparse.ArgumentParser:
    action.add_argument("--json", action="store_true", help="print one JSON object")
    return action


def _chosen(action: argparse.ArgumentParser) -> argparse.ArgumentParser:
    _told(action)
    action.add_argument("ids", nargs="*", type=_number, metavar="ID", help="numbers as `dead list` prints them")
    action.add_argument(
        "--subscription", type=_text, default="", metavar="NAME", help="only those of this subscription"
    )
    action.add_argument("--type", type=_text, default="", help="only events of this type")
    action.add_argument(
        "--error", type=_text, default="", metavar="TEXT", help="only those whose error holds this text"
    )
    action.add_argument("--reason", default="", choices=DeadLetter.Reason.values, help="only those given up for this")
    action.add_argument(
        "--since", type=_moment, metavar="TIME", help="only those that died since: 30m, 2h, 3d, or a date with time"
    )
    action.add_argument("--all", action="store_true", help="all of them")
    return action


def _number(text: str) -> int:
    if not text.isdecimal() or not (0 < int(text) <= BigIntegerField.MAX_BIGINT):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a dead letter: see `dead list`")
    return int(text)


def _text(text: str) -> str:
    """Refuse lone surrogates: a terminal with another encoding sends them, and no database takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no text: write UTF-8") from None
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not (0 < int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of letters: write 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: write 10 or 0.5")
    return seconds


def _moment(text: str) -> datetime:
    number, unit = text[:-1], text[-1:]
    try:
        if number.isdecimal() and unit in _UNITS:
            return timezone.now() - timedelta(seconds=int(number) * _UNITS[unit])
        found = parse_datetime(text)
        if found is not None:
            return (found if timezone.is_aware(found) else timezone.make_aware(found)).astimezone(UTC)
    except (ValueError, OverflowError):  # a date that there is not, or from before the year 1
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30m, 2h, 3d or 2026-01-31T12:00:00")


class DeadLetterDesk:
    """Does what the arguments say; ``say`` prints a line."""

    def __init__(self, mending: Mending, *, say: Callable[[str], None]) -> None:
        self._mending = mending
        self._say = say

    def do(self, options: dict[str, Any]) -> None:
        """Do the action of ``options``.

        Raises:
            CommandError: it could not be done, or not for all.
        """
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "list": self._list,
            "show": self._show,
            "replay": self._replay,
            "edit": self._edit,
            "drop": self._drop,
        }
        actions[options["action"]](options)

    def _find(self, options: dict[str, Any], *, all_is_meant: bool = False) -> QuerySet[DeadLetter]:
        choice = Choice(
            ids=tuple(options["ids"]),
            subscription=options["subscription"],
            type=options["type"],
            error=options["error"],
            reason=options["reason"],
            since=options["since"],
        )
        if not (choice or options["all"] or all_is_meant):
            raise CommandError(
                f"Say which: manage.py events dead {options['action']} ID, --subscription, --type, --error, --reason, "
                f"--since or --all.",
                returncode=2,
            )
        letters = self._mending.find(choice)
        missing = set(choice.ids) - set(letters.values_list("id", flat=True)) if choice.ids else set()
        if missing:
            raise CommandError(
                f"There is no dead letter {_numbers(missing)} that fits. See: manage.py events dead list"
            )
        return letters

    def _list(self, options: dict[str, Any]) -> None:
        letters = self._find(options, all_is_meant=True)
        listed, count = letters[: options["limit"]], letters.count()
        if options["json"]:
            self._say(_json({"count": count, "letters": [_outline(letter) for letter in listed]}))
            return
        for letter in listed:
            self._say(telling.summary(letter))
        if count > len(listed):
            self._say(f"… and {count - len(listed)} older ones (--limit {count}).")
        elif not count:
            self._say("No dead letters.")

    def _show(self, options: dict[str, Any]) -> None:
        letters = self._find(options)[: options["limit"]]
        if not letters:
            raise CommandError("There is no such dead letter. See: manage.py events dead list")
        if options["json"]:
            self._say(_json({"letters": [_in_full(letter) for letter in letters]}))
            return
        for letter in letters:
            self._say(telling.shown(letter))

    def _replay(self, options: dict[str, Any]) -> None:
        replayed = self._mending.replay(self._find(options))
        say = _nothing if options["json"] else self._say
        scheduled = [each for each in replayed if each.outcome is Outcome.SCHEDULED]
        say(f"Replayed {len(scheduled)}." + (" They are stored, to be handled by the worker." if scheduled else ""))
        if options["wait"]:
            replayed = self._wait(replayed, options["wait"])
            say(f"Handled {sum(each.outcome is Outcome.HANDLED for each in replayed)}.")
        else:
            for each in scheduled[:_LISTED]:
                say(f"What becomes of it: manage.py events trace {each.message_id}")
        if options["json"]:
            self._say(_json({"replayed": replayed}))
        accepted = {Outcome.HANDLED} if options["wait"] else {Outcome.SCHEDULED}
        failed = [each for each in replayed if each.outcome not in accepted]
        if failed:
            raise CommandError("\n".join([f"{len(failed)} were not:", *telling.replayed_lines(failed[:_LISTED])]))

    def _wait(self, replayed: list[Replayed], seconds: float) -> list[Replayed]:
        until = time.monotonic() + seconds
        while True:
            now = self._mending.outcomes(replayed)
            if all(each.outcome is not Outcome.SCHEDULED for each in now) or time.monotonic() > until:
                break
            time.sleep(_POLL)
        return now

    def _edit(self, options: dict[str, Any]) -> None:
        [number] = options["ids"]
        letter = self._mending.find(Choice(ids=(number,))).first()
        if letter is None:
            raise CommandError(f"There is no dead letter {number}. See: manage.py events dead list")
        try:
            before = data_of(letter)
            given = _given(options)
            data = _edited(letter, before) if given is None else given
            if data is not None:
                self._store(number, data, before)
        except (InvalidEvent, LetterChanged) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self._say(_json({"id": number, "stored": data is not None}))
        elif data is None:
            self._say("Nothing was changed.")
        else:
            self._say(f"Stored. Handle it with: manage.py events dead replay {number}")

    def _store(self, number: int, data: bytes, before: bytes) -> None:
        try:
            self._mending.edit(number, data, was=before)
        except (InvalidEvent, LetterChanged) as error:
            handle, path = tempfile.mkstemp(prefix=f"dead-letter-{number}-", suffix=".json")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            raise CommandError(
                f"{error}\nNothing was stored; what you wrote is in {path}. Correct it, then: "
                f"manage.py events dead edit {number} --file {path}"
            ) from error

    def _drop(self, options: dict[str, Any]) -> None:
        ids = list(
            self._find(options).values_list("id", flat=True)
        )  # what was asked about is what is dropped, and nothing newer
        if ids and not options["yes"] and not _confirmed(f"Drop {len(ids)} dead letters for ever?"):
            raise CommandError("Nothing was dropped.")
        dropped = self._mending.drop(ids)
        self._say(_json({"dropped": dropped}) if options["json"] else f"Dropped {dropped}.")


def _nothing(line: str) -> None:
    """Discard a message that is only for people, since the output is for machines."""
    del line


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError(f"{question} There is nobody to answer; give --yes.", returncode=2)
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}


def _given(options: dict[str, Any]) -> bytes | None:
    try:
        if options["file"] == "-":
            return sys.stdin.buffer.read()
        if options["file"]:
            return Path(options["file"]).read_bytes()
        return None if options["data"] is None else options["data"].encode()
    except (OSError, UnicodeEncodeError) as error:
        raise CommandError(f"The new data can't be read: {error}") from error


def _edited(letter: DeadLetter, before: bytes) -> bytes | None:
    """Let the user's editor change the data; None when nothing was changed."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:  # readable by this user alone
        file = Path(folder) / f"dead-letter-{letter.pk}.json"
        file.write_text(pretty(before) + "\n")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CommandError(
                f"The editor failed ({error}); nothing was stored. Set EDITOR, or give --data."
            ) from error
        after = file.read_bytes()
    return None if after.strip() == pretty(before).encode().strip() else after


def _outline(letter: DeadLetter) -> dict[str, Any]:
    names = ("subscription", "type", "message_id", "source", "key", "correlation_id", "reason", "attempts", "deaths")
    error = telling.last_line(letter.error)
    return {
        "id": letter.pk,
        "died_at": letter.died_at,
        **{name: getattr(letter, name) for name in names},
        "error": error,
    }


def _in_full(letter: DeadLetter) -> dict[str, Any]:
    try:
        data: dict[str, Any] = {"data": msgspec.Raw(data_of(letter))}
    except InvalidEvent:
        data = {"data": None, "body": bytes(letter.body).decode(errors="backslashreplace")}
    return {**_outline(letter), "error": letter.error, **data}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _numbers(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
