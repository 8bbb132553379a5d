"""What can be wrong with contracts, as values: one form for people and for machines."""

from typing import Any, Literal

import msgspec

__all__ = ["Code", "Finding"]

Code = Literal[
    "breaks_consumer",
    "breaks_stored_events",
    "undecided",
    "removed_field",
    "version_not_read",
    "nobody_publishes",
    "two_publishers",
    "wrong_source",
    "stale_file",
    "changed_promise",
]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to mend (``error``) or to know (``warning``).

    ``producer`` and ``consumer`` are services, ``subscription`` is the consumer's handler, ``path`` the field in the
    event's data. ``example`` is data that the producer may send and the consumer refuses. ``hint`` says what to do.
    """

    level: Literal["error", "warning"] = "error"
    code: Code
    message: str
    hint: str
    type: str | None = None
    version: int | None = None
    producer: str | None = None
    consumer: str | None = None
    subscription: str | None = None
    path: str | None = None
    example: tuple[Any, ...] = ()
    file: str | None = None
