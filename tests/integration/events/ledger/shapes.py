"""The events of the ledger service."""

from bandstand.events import Event


class Counted(Event, type="number.counted", version=1):
    """``do`` tells the handler what to do besides writing its effect."""

    number: int
    do: str = ""


class Answered(Event, type="number.answered", version=1):
    number: int
