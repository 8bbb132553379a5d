"""What can be wrong with a migration, as a value: one form for people and for machines."""

from typing import Literal

import msgspec

__all__ = ["Code", "MigrationFinding"]

Code = Literal[
    "removed_column",
    "removed_table",
    "renamed_column",
    "renamed_table",
    "not_null",
    "changed_type",
    "blocking_index",
    "blocking_constraint",
    "raw_sql",
    "data_with_schema",
    "no_reason",
    "nothing_to_accept",
]


class MigrationFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A change that the release before would break on, or that stops everybody while it runs.

    ``operation`` says what is done, ``message`` why that is a fault, ``instead`` what to do. ``file`` is relative to
    the service. A finding that somebody accepted has their ``reason``, and is no fault any more.
    """

    code: Code
    app: str
    migration: str
    file: str
    line: int
    operation: str
    message: str
    instead: str
    reason: str | None = None
