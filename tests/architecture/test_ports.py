"""Test runs side by side never use the same port."""

import re
import socket
from pathlib import Path

from bandstand.workspace.runtime.ports import LOOPBACK, Reservations, is_free
from tests.ports import give_back, guarded_port, held_port

TESTS = Path(__file__).parents[1]
CHOOSING = re.compile(r"\b(free_port|choose_ports|next_free)\b")
CHOOSES_ITSELF = {"ports.py", "runtime/test_ports.py", "runtime/test_restarting.py", "architecture/test_ports.py"}


def can_be_taken(port: int) -> bool:
    with Reservations() as another_run:
        return another_run.take(port)


def test_no_other_run_gets_a_port_that_is_held() -> None:
    """From the choice on, before a server listens there and after it has ended, until it is given back."""
    port = held_port()
    assert not can_be_taken(port)
    with socket.create_server((LOOPBACK, port)):
        assert not can_be_taken(port)
    assert not can_be_taken(port)
    give_back(port)
    assert can_be_taken(port)


def test_a_guarded_port_is_wholly_free_and_given_to_one_alone() -> None:
    """Its server may take it for UDP, too; the number that stands for it is held."""
    port = guarded_port()
    assert is_free(port)
    assert not can_be_taken(port - 10_000)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK, port))
    give_back(port)
    assert can_be_taken(port - 10_000)


def test_no_test_chooses_a_port_without_holding_it() -> None:
    """Ports of servers come from tests.ports, except where choosing is what is tested."""
    files = {path.relative_to(TESTS).as_posix(): path.read_text() for path in TESTS.rglob("*.py")}
    assert "ports.py" in files
    assert {name for name, text in files.items() if CHOOSING.search(text)} <= CHOOSES_ITSELF
