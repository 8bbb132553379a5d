"""Repairs: dead letters found, replayed, edited and dropped.

A replay does not go through the broker: in one transaction the letter becomes a delivery that is due at once, so once
that is committed nothing can lose it, and a worker that is told nothing finds it within seconds. What became of it can
be asked with ``outcomes``.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec
from django.db import connections, transaction
from django.db.models import QuerySet

from bandstand.events.deliveries import Deliveries, Letter
from bandstand.events.envelope import decode
from bandstand.events.history import History, What
from bandstand.events.models import DeadLetter, Delivery, HistoryEntry, InboxMessage
from bandstand.events.publishing import MAX_BYTES
from bandstand.events.subscriptions import Registry
from bandstand.events.wakeup import notify
from bandstand.exceptions import EventError, InvalidEvent

__all__ = ["Choice", "LetterChanged", "Mending", "Outcome", "Replayed", "data_of", "pretty"]

_BATCH: Final = 500


class LetterChanged(EventError):
    """Somebody replayed, dropped or edited the dead letter meanwhile."""

    code = "dead_letter_changed"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: those that fit every condition given. ``error`` is a part of the error's text."""

    ids: tuple[int, ...] = ()
    subscription: str = ""
    type: str = ""
    error: str = ""
    reason: str = ""
    since: datetime | None = None

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return bool(self.ids or self.subscription or self.type or self.error or self.reason or self.since)


class Outcome(Enum):
    """What became of a dead letter that was to be replayed."""

    SCHEDULED = "scheduled"
    """It waits for its turn, or for its next attempt."""
    HANDLED = "handled"
    """Its handler's transaction is committed."""
    DEAD = "dead"
    """It is a dead letter again, under a new number."""
    UNREADABLE = "unreadable"
    """No view of the handler fits it, so it was left where it was."""
    UNHANDLED = "unhandled"
    """No handler subscribes by that name, so it was left where it was."""
    GONE = "gone"
    """Somebody else replayed or dropped it."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """One letter of a replay; ``letter`` is its number, ``error`` what is wrong with it, if something is."""

    letter: int
    subscription: str
    message_id: str
    outcome: Outcome
    error: str = ""


class Mending:
    """Repairs on the database of that alias; ``by`` is whom the history names."""

    def __init__(self, alias: str, registry: Registry, *, by: str = "") -> None:
        self._alias = alias
        self._registry = registry
        self._by = by
        self._deliveries = Deliveries(alias)
        self._history = History(alias)

    @property
    def _letters(self) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.using(self._alias)

    def find(self, choice: Choice) -> QuerySet[DeadLetter]:
        """Return the dead letters of ``choice``, the newest first."""
        conditions = {
            "id__in": choice.ids,
            "subscription": choice.subscription,
            "type": choice.type,
            "error__icontains": choice.error,
            "reason": choice.reason,
            "died_at__gte": choice.since,
        }
        given = {name: value for name, value in conditions.items() if value}
        return self._letters.filter(**given).order_by("-died_at", "-id")

    def replay(self, letters: QuerySet[DeadLetter]) -> list[Replayed]:
        """Give ``letters`` all their attempts again, in the order in which they died; say of each what came of it.

        When this returns, those that are ``SCHEDULED`` are committed (unless the caller has a transaction open).
        """
        ids = list(letters.order_by("died_at", "id").values_list("id", flat=True))
        replayed = [self._replay(number) for number in ids]
        if any(each.outcome is Outcome.SCHEDULED for each in replayed):
            notify(connections[self._alias], "deliveries")
        return replayed

    def _replay(self, number: int) -> Replayed:
        with transaction.atomic(using=self._alias):
            dead = self._locked(number)
            if dead is None:
                return Replayed(letter=number, subscription="", message_id="", outcome=Outcome.GONE)
            try:
                outcome, error = self._judge(dead), ""
            except InvalidEvent as invalid:
                outcome, error = Outcome.UNREADABLE, str(invalid)
            if outcome is Outcome.SCHEDULED:
                self._deliveries.begin_again(Letter.again(dead))
                self._remember(What.REPLAYED, dead)
                self._letters.filter(pk=number).delete()
        return Replayed(
            letter=number, subscription=dead.subscription, message_id=dead.message_id, outcome=outcome, error=error
        )

    def _judge(self, dead: DeadLetter) -> Outcome:
        if self._registry.get(dead.subscription) is None:
            return Outcome.UNHANDLED
        self.check(dead, data_of(dead))
        return Outcome.SCHEDULED

    def outcomes(self, replayed: Iterable[Replayed]) -> list[Replayed]:
        """Return the same letters with what has become of them by now."""
        return [self._followed(each) if each.outcome is Outcome.SCHEDULED else each for each in replayed]

    def _followed(self, replayed: Replayed) -> Replayed:
        same = {"subscription": replayed.subscription, "message_id": replayed.message_id}
        delivery = Delivery.objects.using(self._alias).filter(**same).first()
        if delivery is not None:
            return msgspec.structs.replace(replayed, error=_last_line(delivery.error))
        dead = self._letters.filter(**same).first()
        if dead is not None:
            return msgspec.structs.replace(replayed, letter=dead.pk, outcome=Outcome.DEAD, error=_last_line(dead.error))
        handled = InboxMessage.objects.using(self._alias).filter(**same).exists()
        return msgspec.structs.replace(replayed, outcome=Outcome.HANDLED if handled else Outcome.GONE, error="")

    def check(self, letter: DeadLetter, data: bytes) -> None:
        """See whether the letter's handler could read ``data``.

        Raises:
            InvalidEvent: it could not; the text says why.
        """
        subscription = self._registry.get(letter.subscription)
        if subscription is None:
            raise InvalidEvent(f"No handler subscribes as {letter.subscription} any more, so nobody can read it.")
        message = decode(bytes(letter.body))[0]
        if (message.source, message.type) != (letter.source, letter.type):
            raise InvalidEvent(
                f"It says that it is {message.type} from {message.source}, but came as something else. Drop it."
            )
        _complete(data)
        subscription.decode(message, data)

    def edit(self, number: int, data: bytes, *, was: bytes | None = None) -> DeadLetter:
        """Give a dead letter other ``data`` (JSON). It stays dead; the history keeps the data from before.

        ``was`` is what the editor was given: with it, nobody's change is overwritten.

        Raises:
            InvalidEvent: the handler could not read ``data``; nothing is stored.
            LetterChanged: it is no dead letter any more, or not that one.
        """
        with transaction.atomic(using=self._alias):
            letter = self._locked(number)
            if letter is None:
                raise LetterChanged(f"There is no dead letter {number} any more.")
            before = data_of(letter)
            if was is not None and before != was:
                raise LetterChanged(f"Somebody else edited the dead letter {number} meanwhile; nothing was stored.")
            self.check(letter, data)
            letter.body = _with_data(bytes(letter.body), data)
            letter.save(using=self._alias, update_fields=["body"])
            self._remember(What.EDITED, letter, original=before.decode())
        return letter

    def drop(self, ids: Collection[int]) -> int:
        """Delete the dead letters of these numbers for ever; return how many there were.

        The history still says that they were there, and who did it.
        """
        numbers = sorted(ids)
        return sum(self._drop(numbers[begin : begin + _BATCH]) for begin in range(0, len(numbers), _BATCH))

    def _drop(self, ids: Collection[int]) -> int:
        with transaction.atomic(using=self._alias):
            found = list(self._lock(self._letters.filter(id__in=ids).order_by("id").defer("body")))
            for letter in found:
                self._history.tell_mended(What.DROPPED, letter, by=self._by)
            return self._letters.filter(id__in=[letter.pk for letter in found]).delete()[0]

    def _locked(self, number: int) -> DeadLetter | None:
        return self._lock(self._letters.filter(pk=number)).first()

    def _lock(self, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        return letters.select_for_update() if connections[self._alias].features.has_select_for_update else letters

    def _remember(self, what: HistoryEntry.What, letter: DeadLetter, *, original: str = "") -> None:
        self._history.tell_mended(what, letter, by=self._by, original=original)
        self._history.trim(letter.subscription, letter.message_id)


def data_of(letter: DeadLetter) -> bytes:
    """Return the event's data as JSON.

    Raises:
        InvalidEvent: the message is no event.
    """
    return decode(bytes(letter.body))[1]


def pretty(data: bytes) -> str:
    """Return JSON as people read it."""
    return msgspec.json.format(data, indent=2).decode()


def _complete(data: bytes) -> None:
    """See that ``data`` is JSON as a whole: a view reads only what it needs."""
    if len(data) > MAX_BYTES:
        raise InvalidEvent(f"The data have {len(data):,} bytes, above the limit of {MAX_BYTES:,}.")
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(f"The data are no JSON: {error}") from error


def _with_data(body: bytes, data: bytes) -> bytes:
    """Every other attribute stays, also those that we do not know."""
    attributes = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    attributes["data"] = msgspec.Raw(msgspec.json.format(data, indent=-1))
    return msgspec.json.encode(attributes)


def _last_line(error: str) -> str:
    return (error.strip().splitlines() or [""])[-1]
