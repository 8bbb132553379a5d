"""``manage.py worker`` and its options; the worker itself is in the integration tests."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bandstand.conf import Settings
from bandstand.events.management.commands import worker
from bandstand.exceptions import ConfigurationError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool, bool]]:
    """The threads of each worker that was made, and whether it relays and consumes."""
    found: list[tuple[int, bool, bool]] = []

    class Fake:
        def __init__(self, settings: Settings, *, relay: bool, consume: bool) -> None:
            found.append((settings.events.threads, relay, consume))

        def run(self) -> None:
            if found[-1][0] == 99:
                raise ConfigurationError("The pool is too small.")

    monkeypatch.setattr(worker, "Worker", Fake)
    return found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), (4, True, True)),
        (("--only", "relay"), (4, True, False)),
        (("--only", "consumer", "--threads", "8"), (8, False, True)),
    ],
)
def test_the_options_say_what_runs(
    made: list[Any], arguments: tuple[str, ...], expected: tuple[int, bool, bool]
) -> None:
    """Relay, consumer or both, with the threads of the settings unless told otherwise."""
    call_command("worker", *arguments)
    assert made == [expected]


def test_a_worker_needs_a_thread(made: list[Any]) -> None:
    """No threads are refused as written wrong, and what does not fit the database is a plain error."""
    with pytest.raises(CommandError, match="at least one") as caught:
        call_command("worker", "--threads", "0")
    assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="too small"):
        call_command("worker", "--threads", "99")
