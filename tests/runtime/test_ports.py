"""Which ports are taken, kept and left alone."""

import socket
from collections.abc import Callable

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.runtime.ports import Reservations, choose_ports, is_free, next_free


def test_earlier_ports_are_kept_while_they_are_free() -> None:
    """The addresses of a platform stay the same from one start to the next."""
    assert choose_ports(["a", "b"], {"a": 21_000, "b": 21_001}, free=lambda _: True) == {"a": 21_000, "b": 21_001}


def test_a_port_that_somebody_took_is_replaced() -> None:
    """The others keep theirs, and the new one is none of them."""
    chosen = choose_ports(["a", "b"], {"a": 21_000, "b": 21_001}, free=lambda port: port != 21_000)
    assert chosen["b"] == 21_001
    assert chosen["a"] not in {21_000, 21_001}


def test_no_two_names_share_a_port() -> None:
    """Also when an earlier state says so."""
    chosen = choose_ports(["a", "b"], {"a": 21_000, "b": 21_000}, free=lambda _: True)
    assert chosen["a"] != chosen["b"]


def test_ports_lie_below_those_of_outgoing_connections() -> None:
    """Else the system could give one away between our choice and the server's bind."""
    names = [str(number) for number in range(50)]
    assert all(20_000 <= port < 30_000 for port in choose_ports(names, {}, free=lambda _: True).values())


def test_the_next_free_port_follows_the_wanted_one() -> None:
    """The gateway takes the wanted port, or the first after it that is free and nobody else's."""
    assert next_free(8000, free=lambda _: True) == 8000
    assert next_free(8000, taken=[8001], free=lambda port: port > 8000) == 8002


def test_no_free_port_says_what_to_do() -> None:
    """An error names the setting."""
    with pytest.raises(WorkspaceError, match=r"gateway\.port"):
        next_free(8000, free=lambda _: False)


def test_a_listener_is_seen() -> None:
    """A port that somebody listens on is not free; it is again when he has gone."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.fixture
def port() -> int:
    return choose_ports(["a"], {})["a"]


def test_a_port_that_a_run_reserved_is_taken(port: int) -> None:
    """Long before anybody listens there, and while its server is started anew, no other run chooses it."""
    with Reservations() as ours, Reservations() as others:
        assert ours.take(port)
        assert not is_free(port)
        assert not others.take(port)
        assert next_free(port, free=others.take) != port


def test_a_server_listens_on_the_port_that_its_run_reserved(port: int) -> None:
    """A reservation keeps other runs away, not the server that it is for."""
    with Reservations() as ours, socket.socket() as server:
        assert ours.take(port)
        server.bind(("127.0.0.1", port))
        server.listen()


@pytest.mark.parametrize("end", [lambda ours, port: ours.release(port), lambda ours, port: ours.__exit__()])
def test_a_port_is_given_back(port: int, end: Callable[[Reservations, int], None]) -> None:
    """Who does not need it any more, or ends, leaves it to others."""
    with Reservations() as ours:
        assert ours.take(port)
        end(ours, port)
        assert is_free(port)


def test_a_port_that_somebody_listens_on_is_not_reserved() -> None:
    """It is left to him, and nothing of the attempt stays."""
    with Reservations() as ours, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ours.take(port)
        server.close()
        assert is_free(port)


def test_what_was_never_reserved_is_not_given_back(port: int) -> None:
    """A process without a port, and a port of somebody else, are no error."""
    with Reservations() as ours, Reservations() as others:
        assert others.take(port)
        ours.release(port)
        ours.release(None)
        assert not is_free(port)
