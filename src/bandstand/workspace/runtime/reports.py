"""What a starting platform tells whoever waits for it: messages, which a terminal shows and a pipe carries."""

from collections.abc import Callable

import msgspec

__all__ = ["Failed", "Notice", "Output", "Ready", "Report", "Reporter", "StepDone", "Stopping", "decode", "encode"]


class StepDone(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """One step is done: ``seconds`` is how long it took, ``at`` when it was done since the start of the command."""

    label: str
    seconds: float
    at: float
    skipped: bool = False


class Notice(msgspec.Struct, frozen=True, kw_only=True, tag="notice"):
    """Something that is not as somebody would expect."""

    text: str


class Output(msgspec.Struct, frozen=True, kw_only=True, tag="output"):
    """One raw line that a process wrote."""

    name: str
    line: str


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The platform is ready. ``documents`` are the API pages of the services, ``mail`` the folder of sent mails."""

    platform: str
    gateway: str
    services: dict[str, str]
    documents: dict[str, str]
    mail: str
    seconds: float


class Stopping(msgspec.Struct, frozen=True, kw_only=True, tag="stopping"):
    """The platform ends now."""

    text: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The platform did not start; ``code`` is the error's name for machines."""

    code: str
    message: str
    hint: str = ""


Report = StepDone | Notice | Output | Ready | Stopping | Failed
Reporter = Callable[[Report], None]

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(report) + b"\n"


def decode(line: bytes) -> Report:
    """The report that a line of JSON holds."""
    return _decoder.decode(line)
