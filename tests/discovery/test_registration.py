import atexit
import socket
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest.mock import Mock

import pytest
from django.core import mail
from pytest_django import Settings as DjangoSettings

from bandstand.conf import Settings
from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery import MemoryRegistry, use_registry
from bandstand.discovery import registration as registration_module
from bandstand.discovery.advertising import Advertised, advertised_host
from bandstand.discovery.checks import check_discovery
from bandstand.discovery.crew import Crew
from bandstand.discovery.health import RegistryTrouble, check_registry
from bandstand.discovery.listening import Listener, find_listener
from bandstand.discovery.registrar import Entry, Registrar
from bandstand.discovery.registration import RENEW, Registration, _registrar, begin_registration
from bandstand.discovery.watching import RegistryAway
from bandstand.exceptions import ConfigurationError

EVERYWHERE = Listener(host="0.0.0.0", port=8000)
REGISTRY = ("consul.test", 8500)


class Book(Registrar):
    """Writes down what it is told, or is away."""

    host, port, tags = "consul.test", 8500, ("shop",)

    def __init__(self) -> None:
        self.told: list[str] = []
        self.entry: Entry | None = None
        self.away = False

    def _write(self, word: str, entry: Entry) -> None:
        self.told.append(word)
        self.entry = entry
        if self.away:
            raise RegistryAway("no route")

    def register(self, entry: Entry, *, ready: bool) -> None:
        self._write(f"register {ready}", entry)

    def renew(self, entry: Entry, *, ready: Any) -> None:
        self._write(f"renew {ready()}", entry)

    def withdraw(self, entry: Entry) -> None:
        self._write("withdraw", entry)

    def deregister(self, entry: Entry) -> None:
        self._write("deregister", entry)


class Days:
    """The pauses of a process's life: says after some of them that it drains now."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.rests: list[float] = []

    def __call__(self, rest: float) -> bool:
        self.rests.append(rest)
        self.left -= 1
        return self.left < 0


def registration(book: Book, days: Days, folder: Path, *, looks: int = 0, **settings: Any) -> Registration:
    """A process that listens at the look after ``looks``, is ready, and is reached by the address 10.0.0.7."""
    seen = iter([None] * looks)

    def find(_name: str) -> tuple[Listener | None, str]:
        return next(seen, Listener(host="10.0.0.7", port=8000)), "nobody answers"

    return Registration(
        book,
        Settings(service="user-service", platform="shop", version="1.2.3", **settings),
        find=find,
        ask=lambda *_: (200, "ready"),
        join=lambda key: Crew(key, folder),
        pause=days,
        hears=lambda: True,
    )


def test_the_life_of_an_instance(tmp_path: Path) -> None:
    """It waits until somebody listens, registers once, renews, is withdrawn when it drains, and deregistered after."""
    book, days = Book(), Days(5)
    process = registration(book, days, tmp_path, looks=2)
    process.run()
    assert book.told == ["register True", *["renew True"] * 3, "withdraw"]
    assert days.rests[2:] == [RENEW] * 4
    assert book.entry == Entry(
        id="user-service-10.0.0.7-8000",
        service="user-service",
        name="user-service",
        host="10.0.0.7",
        port=8000,
        probe="http://10.0.0.7:8000/health/ready/",
        tags=("shop",),
        metadata={"version": "1.2.3", "platform": "shop"},
    )


def test_who_never_listens_never_registers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that loads an application without serving it tells the registry nothing, and the log why, once."""
    book = Book()
    registration(book, Days(100), tmp_path, looks=200).run()
    assert book.told == []
    assert [record.message for record in caplog.records] == ["Not registered yet: nobody answers"]


def test_a_second_worker_follows(tmp_path: Path) -> None:
    """Who does not lead tells the registry nothing, neither while it serves nor when it leaves before the leader."""
    leader = Crew("user-service-10.0.0.7-8000", tmp_path)
    assert leader.leads()
    book = Book()
    registration(book, Days(5), tmp_path).run()
    assert book.told == []
    assert leader.leave()


def test_it_knows_whether_others_serve_on(tmp_path: Path) -> None:
    """One worker of several that has left stands for the others; before, and when they are gone too, it does not."""
    leader = Crew("user-service-10.0.0.7-8000", tmp_path)
    assert leader.leads()
    process = registration(Book(), Days(5), tmp_path)
    assert not process.others_serve()
    process.run()
    assert process.others_serve()
    leader.leave()
    assert not process.others_serve()


def test_a_registry_that_is_away_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost by a registry that is away when the process starts: one warning, and growing pauses."""
    book, days = Book(), Days(8)
    book.away = True
    process = registration(book, days, tmp_path)
    process.run()
    assert book.told == ["register True"] * 9 + ["withdraw"]
    assert max(days.rests) <= RENEW
    assert process.trouble == "The registry can't be told of this process: no route."
    assert sum("can't be told of this process" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("statuses", "ready"),
    [([0, 200], True), ([200, 503], True), ([503, 200], False), ([0, 0, 200], False), ([0, 503], False)],
)
def test_a_question_without_an_answer_is_asked_once_more(tmp_path: Path, statuses: list[int], ready: bool) -> None:
    """One lost connection, as to a worker that was just killed, makes nobody unready; a 503 is an answer."""
    book, answers = Book(), iter(statuses)
    process = registration(book, Days(0), tmp_path)
    process._ask = lambda *_: (next(answers), "")
    process.run()
    assert book.told == [f"register {ready}", "withdraw"]


class Tellable(MemoryRegistry, Book):
    """A registry that instances register with."""

    def __init__(self) -> None:
        Book.__init__(self)
        MemoryRegistry.__init__(self)


@pytest.mark.parametrize(
    ("process", "register", "does"),
    [
        ("web", "auto", True),
        ("web", "never", False),
        ("worker", "auto", False),
        ("worker", "always", True),
        ("worker", "never", False),
        ("", "auto", True),
    ],
)
def test_who_registers(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch, process: str, register: str, does: bool
) -> None:
    """What serves does unless told not to, a worker only when told to, and a test's live server never."""
    settings.BANDSTAND = {**settings.BANDSTAND, "PROCESS": process, "DISCOVERY": {"REGISTER": register}}
    with use_registry(Tellable()):
        assert _registrar() is None
        monkeypatch.delattr(mail, "outbox")
        assert (_registrar() is not None) is does
    with use_registry(MemoryRegistry()):
        assert _registrar() is None


def test_without_a_thread_it_is_not_registered_and_says_so(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The application loads all the same; health fails until a thread can be had, which it tries when it is asked."""
    settings.BANDSTAND = {**settings.BANDSTAND, "PROCESS": "worker", "DISCOVERY": {"REGISTER": "always"}}
    runs = SimpleQueue[Registration]()
    full = Mock(side_effect=RuntimeError("can't start new thread"))

    def run(process: Registration) -> None:
        runs.put(process)

    monkeypatch.setattr(Registration, "run", run)
    monkeypatch.setattr(registration_module, "_running", running := [])
    monkeypatch.delattr(mail, "outbox")
    with use_registry(Tellable()):
        with monkeypatch.context() as machine:
            machine.setattr("threading.Thread.start", full)
            begin_registration()
            begin_registration()  # another load of the application
            for _ in range(2):
                with pytest.raises(RegistryTrouble, match="not registered: can't start new thread"):
                    check_registry()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert runs.empty()
        check_registry()
        check_registry()
        assert runs.get(timeout=60) is running[0]
        assert runs.empty()
    atexit.unregister(running[0].finish)


def test_a_forked_child_takes_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends in a child, as a pool of processes does, leaves the parent's instance where it is."""
    monkeypatch.setattr("bandstand.health.is_draining", lambda: True)
    book = Book()
    process = registration(book, Days(1), tmp_path)
    process.run()
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: 1)
        process.finish()
    assert "deregister" not in book.told
    process.finish()
    assert book.told[-1] == "deregister"


def test_workers_have_a_name_of_their_own(tmp_path: Path) -> None:
    """A worker that is asked to register is not found by those who call the service."""
    book = Book()
    registration(book, Days(1), tmp_path, process="worker").run()
    assert book.entry is not None
    assert book.entry.service == "user-service-worker"


def test_what_is_advertised_goes_first(tmp_path: Path) -> None:
    """Host and port of the variable take the place of what was found out, each for itself."""
    for text, place in {
        "proxy.test:80": "proxy.test:80",
        ":80": "10.0.0.7:80",
        "proxy.test": "proxy.test:8000",
    }.items():
        book = Book()
        registration(book, Days(1), tmp_path, discovery=DiscoverySettings(advertise=text)).run()
        assert book.entry is not None
        assert book.entry.probe == f"http://{place}/health/ready/"


@pytest.mark.parametrize(("register", "told"), [("always", ["register True", "withdraw"]), ("auto", [])])
def test_a_process_without_a_socket(tmp_path: Path, register: Any, told: list[str]) -> None:
    """Behind another server nobody finds the port: who wants it is registered once the advertised address answers."""
    book, answers = Book(), iter([(0, "ConnectionRefusedError"), (200, "alive")])
    discovery = DiscoverySettings(advertise="proxy.test:80", register=register)
    process = registration(book, Days(1), tmp_path, looks=10, discovery=discovery)
    process._ask = lambda *_: next(answers, (200, "ready"))
    process.run()
    assert book.told == told
    assert book.entry is None or book.entry.id == "user-service-proxy.test-80"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "", 0),
        ("10.0.0.7", "10.0.0.7", 0),
        ("host.test:8000", "host.test", 8000),
        (":8000", "", 8000),
        ("[fd00::7]:8000", "fd00::7", 8000),
        ("[fd00::7]", "fd00::7", 0),
        ("fd00::7", "fd00::7", 0),
    ],
)
def test_forms_of_an_advertised_address(text: str, host: str, port: int) -> None:
    """Host, port or both."""
    assert Advertised.parse(text) == Advertised(host=host, port=port)


@pytest.mark.parametrize(
    "text", ["http://host:1", "host:port", "host:0", "host:99999", "user@host", "host/path", "[::1]8"]
)
def test_another_form_is_refused(text: str, settings: DjangoSettings) -> None:
    """What is wrong is told where settings are checked, and when the process would register."""
    with pytest.raises(ConfigurationError, match="BANDSTAND_ADVERTISE"):
        Advertised.parse(text)
    settings.BANDSTAND = {**settings.BANDSTAND, "DISCOVERY": {"ADVERTISE": text}}
    assert [message.id for message in check_discovery()] == ["bandstand.discovery.E002"]


def test_the_address_of_the_way_to_the_registry() -> None:
    """A server on all addresses is reached by that of the interface that leads to the registry."""
    assert advertised_host(EVERYWHERE, REGISTRY, lambda host, port: "10.0.0.7") == "10.0.0.7"
    assert advertised_host(EVERYWHERE, REGISTRY, lambda host, port: "127.0.0.1") == ""
    assert advertised_host(Listener(host="10.0.0.9", port=1), REGISTRY) == "10.0.0.9"


def test_listening_for_the_own_machine_only_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """An instance that others can't reach is a mistake on more than one machine: the log says what to do."""
    assert advertised_host(Listener(host="127.0.0.1", port=1), REGISTRY) == "127.0.0.1"
    assert "0.0.0.0" in caplog.text


def test_only_the_socket_of_the_service_counts() -> None:
    """Of several sockets the one is found that answers as a service does; else it is told what they said."""
    answers = {9100: (200, ""), 5678: (0, "BadStatusLine"), 8000: (200, "alive")}

    def ask(url: str, path: str, name: str) -> tuple[int, str]:
        assert (path, name) == ("/health/live/", "user-service")
        return answers[int(url.rpartition(":")[2])]

    sockets = [Listener(host="127.0.0.1", port=port) for port in (9100, 5678, 8000)]
    assert find_listener("user-service", lambda: sockets, ask) == (sockets[2], "")
    assert find_listener("user-service", lambda: sockets[:1], ask) == (
        None,
        "http://127.0.0.1:9100/health/live/ answers 200",
    )
    assert find_listener("user-service", list, ask) == (None, "")
    answers[8000] = (400, "")
    found, why = find_listener("user-service", lambda: sockets, ask)
    assert found is None
    assert "is user-service one of the ALLOWED_HOSTS?" in why


def test_the_own_sockets_are_seen() -> None:
    """What this process listens on is found, with the address that it was bound to."""
    from bandstand.discovery.listening import own_sockets

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert Listener(host="127.0.0.1", port=listening.getsockname()[1]) in list(own_sockets())
    assert Listener(host="::", port=1).own_url == "http://[::1]:1"


def test_it_registers_once_sigterm_is_heard(tmp_path: Path) -> None:
    """A server sets its own handler when it starts: nobody is entered while that one would not take them out again."""
    book, heard = Book(), iter([False, False, True])
    process = registration(book, Days(2), tmp_path)
    process._hears = lambda: next(heard, True)
    process.run()
    assert book.told == ["register True", "withdraw"]
