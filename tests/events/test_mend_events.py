"""The page on mending is done as it is written."""

import re
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from django.core.management import CommandError, call_command

from bandstand.cli.app import app
from bandstand.context import new_context
from bandstand.events import Event
from bandstand.events import desk as desk_module
from bandstand.events.envelope import encode
from bandstand.events.management.commands import events
from bandstand.events.models import DeadLetter, OutboxMessage

from .conftest import Desk, FakeIncoming

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "mend-events.md").read_text()
FIRST = "01989c1e-5a3b-7c4d-8e9f-0a1b2c3d4e5f"
SECOND = "01989c1e-5a3b-7c4d-8e9f-0a1b2c3d4e60"


class Placed(Event, type="order.placed", version=1):
    order_id: str
    product_id: str
    quantity: Any


class OrderPlaced(Event, type="order.placed", version=1):
    order_id: str
    product_id: str
    quantity: int


class Service:
    """The service of the page: its handler fails until it is corrected."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.reserved: list[str] = []
        self.corrected = False
        desk.handle(self.reserve, "order.placed", "products.reserve_stock")

    def reserve(self, event: OrderPlaced) -> None:
        if not self.corrected:
            raise LookupError(f"there is no warehouse for {event.product_id}")
        self.reserved.append(event.order_id)

    def bring(self, identifier: str, order_id: str, quantity: Any, number: int) -> None:
        event = Placed(order_id=order_id, product_id="p-1", quantity=quantity)
        context = new_context(correlation_id="correlation-1" if number == 17 else None)
        body = encode(event, id=identifier, source="order-service", key=order_id, context=context)
        incoming = FakeIncoming("products.reserve_stock", body, source="order-service")
        incoming.type = "order.placed"
        self.desk.consumer.receive(incoming)
        for _ in range(4):
            self.desk.pass_time()
        DeadLetter.objects.filter(message_id=identifier).update(id=number)


@pytest.fixture
def service(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    monkeypatch.setattr(events, "REGISTRY", desk.registry)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Service(desk)
    made.bring(FIRST, "o-1", 1, 17)
    made.bring(SECOND, "o-2", "2", 18)
    monkeypatch.setattr(desk_module.time, "sleep", lambda seconds: desk.pass_time(0))
    return made


def run(line: str) -> str:
    out = StringIO()
    try:
        call_command("events", *shlex.split(line), stdout=out)
    except CommandError as error:
        return f"{out.getvalue()}{error}\n"
    return out.getvalue()


def as_expected(shown: str, printed: str) -> bool:
    """Say whether it is the same, where … stands for anything."""
    return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), printed, re.DOTALL) is not None


def test_the_page_does_what_it_says(service: Service) -> None:
    """Each command prints what stands below it, and in the end both orders have their stock."""
    OutboxMessage.objects.all().delete()
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    steps = [step for block in blocks for step in re.split(r"^\$ manage.py events ", block, flags=re.MULTILINE)[1:]]
    assert len(steps) == 9
    for step in steps:
        command, _, shown = step.partition("\n")
        service.corrected = service.corrected or "replay" in command  # "Correct it, start the worker anew"
        printed = run(command)
        assert as_expected(shown, printed), f"{command}\n--- the page\n{shown}\n--- printed\n{printed}"
    service.desk.pass_time(0)
    assert service.reserved == ["o-1", "o-2"]


def test_the_other_commands_are_written_right(service: Service) -> None:
    """What stands on the page without its output can be typed, too."""
    lines = re.findall(
        r"^(manage.py|bandstand) events (.+)$", "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE
    )
    assert len(lines) == 7
    group = typer.main.get_command(app).commands["events"]  # type: ignore[attr-defined]
    for program, line in lines:
        if program == "bandstand":
            name, *arguments = shlex.split(line)
            group.commands[name].make_context(name, arguments)
        else:
            assert "Replayed" in run(re.sub(r"--wait \d+", "", line))
