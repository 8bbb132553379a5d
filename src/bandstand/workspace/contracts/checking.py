"""Whether what is published can be read: by every consumer, now and for the events that are stored already.

Everything here is pure. ``before`` is what was promised: the contracts of an earlier commit, by event.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from bandstand.workspace.contracts.comparing import Difference, compare
from bandstand.workspace.contracts.findings import Finding
from bandstand.workspace.contracts.model import Event, Platform, Publication, Reader, ServiceContracts
from bandstand.workspace.contracts.promises import Change, changes, field_at
from bandstand.workspace.contracts.shapes import Schema

__all__ = ["Promise", "check"]

_PROMISE: Final = "An event that is published already never changes its meaning"


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What ``service`` promised of an event before."""

    service: str
    schema: Schema


def check(platform: Platform, before: Mapping[Event, Promise]) -> tuple[Finding, ...]:
    """Return what is wrong, errors first."""
    found = [
        *_publishers(platform),
        *(each for reader in platform.readers() for each in _sources(platform, reader, before)),
        *(
            each
            for service, publication in platform.publications()
            for each in _publication(platform, service, publication, before.get(publication.event))
        ),
    ]
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))


def _publishers(platform: Platform) -> Iterator[Finding]:
    """A type belongs to one service, which orders its events and answers for its contract."""
    owners: dict[str, str] = {}
    for service, publication in platform.publications():
        owner = owners.setdefault(publication.type, service.service)
        if owner != service.service:
            yield Finding(
                code="two_publishers",
                type=publication.type,
                version=publication.version,
                producer=service.service,
                message=f"{publication.type} is published by {owner} and by {service.service}.",
                hint=f"One service owns a type. If {service.service} only reads it, it needs a subscription with that "
                "class, or none of it; if it tells something of its own, give that another type.",
            )


# --- who reads what nobody publishes -----------------------------------------------------------------


def _sources(platform: Platform, reader: Reader, before: Mapping[Event, Promise]) -> Iterator[Finding]:
    """Every subscription, and every version that it reads, needs a publisher."""
    consumption = reader.consumption
    published = {publication.event for _, publication in platform.publications()}
    matching = {event for event in published if consumption.matches(event.type)}
    if not matching:
        yield _nobody(reader, consumption.pattern, None, _where_it_went(reader, published, before))
        return
    for view in consumption.views:
        if view.version is not None and not any(event.version == view.version for event in matching):
            known = ", ".join(f"version {event.version}" for event in sorted(matching))
            yield _nobody(
                reader,
                f"version {view.version} of {consumption.pattern}",
                view.version,
                f"Published is {known}. Read that instead; keep the old view only as long as old events may come.",
                level="warning" if len(consumption.views) > 1 else "error",
            )


def _nobody(reader: Reader, what: str, version: int | None, hint: str, level: str = "error") -> Finding:
    return Finding(
        level="warning" if level == "warning" else "error",
        code="nobody_publishes",
        type=reader.consumption.pattern,
        version=version,
        consumer=reader.service,
        subscription=reader.consumption.subscription,
        message=f"{reader} reads {what}, which nobody publishes.",
        hint=hint,
    )


def _where_it_went(reader: Reader, published: set[Event], before: Mapping[Event, Promise]) -> str:
    pattern = reader.consumption.pattern
    for event, promise in before.items():
        if reader.consumption.matches(event.type):
            return f"{promise.service} published {event} until now. Remove the subscription, or bring the event back."
    near = get_close_matches(pattern, sorted({event.type for event in published}), n=1)
    own = f"If {reader.service} publishes it itself, write @publishes above the class."
    return f"Did you mean {near[0]}? {own}" if near else f"Correct the type, or remove the subscription. {own}"


# --- what is published, and who can't read it --------------------------------------------------------


def _publication(
    platform: Platform, service: ServiceContracts, publication: Publication, promise: Promise | None
) -> Iterator[Finding]:
    changed = changes(promise.schema, publication.schema) if promise else ()
    told: set[str] = set()
    for reader in platform.readers_of(publication.type):
        for finding in _reading(service.service, publication, reader, promise, changed):
            told.add(finding.path or "")
            yield finding
    for change in changed:
        if change.path not in told and not change.harmless:
            yield _promise(platform, service.service, publication, change)


def _reading(
    producer: str, publication: Publication, reader: Reader, promise: Promise | None, changed: tuple[Change, ...]
) -> Iterator[Finding]:
    view = reader.consumption.view(publication.version)
    if reader.consumption.source not in {None, producer}:
        yield _source(producer, publication, reader)
        return
    if view is None:
        yield _version(producer, publication, reader)
        return
    now = compare(publication.schema, view.schema)
    for difference in now:
        yield _breaks(producer, publication, reader, difference, changed)
    paths = {difference.path for difference in now}
    stored = compare(promise.schema, view.schema) if promise else ()
    for difference in stored:
        if difference.path not in paths:
            yield _stored(producer, publication, reader, difference)
    for change in changed:
        if change.removed and change.path not in paths and field_at(view.schema, change.path):
            yield _removed(producer, publication, reader, change)


def _about(code: str, producer: str, publication: Publication, reader: Reader, path: str) -> Finding:
    return Finding(
        code=code,  # type: ignore[arg-type]
        type=publication.type,
        version=publication.version,
        producer=producer,
        consumer=reader.service,
        subscription=reader.consumption.subscription,
        path=path,
        message="",
        hint="",
    )


def _version(producer: str, publication: Publication, reader: Reader) -> Finding:
    """Sent is what the reader would put among its dead letters."""
    known = " and ".join(f"version {view.version}" for view in reader.consumption.views)
    return msgspec.structs.replace(
        _about("version_not_read", producer, publication, reader, ""),
        message=f"{producer} publishes {publication.event}, but {reader} reads only {known}: "
        f"each such event would be a dead letter.",
        hint="Add a view of it to the handler's annotation (event: Old | New), and deploy that first.",
    )


def _source(producer: str, publication: Publication, reader: Reader) -> Finding:
    return msgspec.structs.replace(
        _about("wrong_source", producer, publication, reader, ""),
        message=f"{producer} publishes {publication.type}, but {reader} believes {reader.consumption.source} alone: "
        f"each such event would be a dead letter.",
        hint=f"Write source={producer!r} in the subscription, or none.",
    )


_WHAT: Final = {
    "missing": "needs it, but {producer} does not send it",
    "optional": "needs it, but {producer} may leave it out",
    "unknown": "refuses it, since its view forbids fields that it does not name; {producer} sends {sent}",
    "value": "reads {taken}, but {producer} may send {sent}",
}


def _breaks(
    producer: str, publication: Publication, reader: Reader, difference: Difference, changed: tuple[Change, ...]
) -> Finding:
    finding = _about("breaks_consumer", producer, publication, reader, difference.path)
    what = _WHAT[difference.why].format(producer=producer, sent=difference.sent, taken=difference.taken)
    since = next((change.words for change in changed if change.path == difference.path), "")
    message = f"{publication.event}: {_field(difference.path)}: {reader} {what}."
    if difference.verdict == "undecided":
        return msgspec.structs.replace(
            finding,
            code="undecided",
            message=f"{message} Whether that fits can't be decided.",
            hint=f"Write the same on both sides, or let the view of {reader.service} ask for less.",
        )
    return msgspec.structs.replace(
        finding,
        message=f"{message} {since}".strip(),
        hint=_mend(producer, publication, reader, difference, changed=bool(since)),
        example=difference.example,
    )


def _mend(producer: str, publication: Publication, reader: Reader, difference: Difference, *, changed: bool) -> str:
    following = f"publish version {publication.version + 1} besides, and let {reader.service} read both"
    if changed:
        return f"{_PROMISE}: keep the field as it was, or {following}."
    if difference.why in {"missing", "optional"}:
        return f"Give the field a default in the view of {reader.service}, or let {producer} always send it."
    if difference.why == "unknown":
        return f"Take forbid_unknown_fields from the view of {reader.service}."
    return f"Let the class that {producer} publishes promise as much, or the view of {reader.service} ask for less."


def _stored(producer: str, publication: Publication, reader: Reader, difference: Difference) -> Finding:
    what = _WHAT[difference.why].format(producer="an earlier event", sent=difference.sent, taken=difference.taken)
    return msgspec.structs.replace(
        _about("breaks_stored_events", producer, publication, reader, difference.path),
        message=f"{publication.event}: {_field(difference.path)}: {reader} {what}. Such events are still at the "
        f"broker and in outboxes, from before this change.",
        hint=f"Let the view of {reader.service} read both (a default for a new field), or publish version "
        f"{publication.version + 1}.",
        example=difference.example,
    )


def _removed(producer: str, publication: Publication, reader: Reader, change: Change) -> Finding:
    return msgspec.structs.replace(
        _about("removed_field", producer, publication, reader, change.path),
        message=f"{publication.event}: {_field(change.path)}: {reader} reads it, and would find only its default from "
        f"now on. {change.words}",
        hint=f"{_PROMISE}: keep the field, or publish version {publication.version + 1} besides; or remove it from the "
        f"view of {reader.service} first.",
    )


def _promise(platform: Platform, producer: str, publication: Publication, change: Change) -> Finding:
    readers = ", ".join(str(reader) for reader in platform.readers_of(publication.type))
    return Finding(
        level="warning",
        code="changed_promise",
        type=publication.type,
        version=publication.version,
        producer=producer,
        path=change.path,
        message=f"{publication.event}: {_field(change.path)}: {change.words}",
        hint=f"No subscription here is broken by it{f' (of {readers})' if readers else ''}. If others read the event, "
        f"publish version {publication.version + 1} instead.",
    )


def _field(path: str) -> str:
    return path or "the event itself"
