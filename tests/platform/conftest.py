"""The whole shop, started with `bandstand up` on a copy of shop/, and a client that knows only the gateway."""

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.ports import guarded_port
from tests.waiting import GUARD, until

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
RENEWED_AFTER = 150  # seconds; a token lives some minutes
BANDSTAND = Path(sys.executable).with_name("bandstand")


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(kw_only=True)
class SignIn:
    """A user's credentials and newest token, renewed before it expires."""

    client: "Client"
    email: str
    password: str
    _token: str = ""
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self) -> str:
        """Return a token that stays valid for at least two minutes."""
        with self._lock:
            if time.monotonic() > self._until:
                self._token = until(self._signed_in, f"{self.email} to sign in")
                self._until = time.monotonic() + RENEWED_AFTER
            return self._token

    def _signed_in(self) -> str | None:
        """Return a token, or None while the service is not reachable."""
        try:
            credentials = {"email": self.email, "password": self.password}
            answer = self.client.post("/api/users/authenticate/", credentials)
        except (OSError, http.client.HTTPException):
            return None
        assert answer.status in {200, 502, 503, 504}, answer
        return str(answer.body["token"]) if answer.status == 200 else None


@dataclass(frozen=True, kw_only=True)
class Client:
    """Speaks JSON to one base URL, as one user."""

    base: str
    fixed_token: str = ""
    sign_in: SignIn | None = None

    def bearer(self) -> str:
        """Return the token of the user, or an empty string."""
        return self.fixed_token if self.sign_in is None else self.sign_in.token()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Accept", "application/json")
        if token := self.bearer():
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=GUARD) as response:
                return self._answer(response.status, response)
        except urllib.error.HTTPError as error:
            with error:
                return self._answer(error.code, error)

    def _answer(self, status: int, response: Any) -> Answer:
        raw = response.read()
        headers = {name.lower(): value for name, value in response.headers.items()}
        is_json = "json" in headers.get("content-type", "")
        return Answer(status=status, headers=headers, body=json.loads(raw) if raw and is_json else raw)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A registered user who is signed in."""

    id: str
    email: str
    client: Client


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A running shop: where its files are and what `bandstand up --json` said."""

    folder: Path
    gateway: str
    mail: Path
    seconds: float

    @property
    def services(self) -> dict[str, str]:
        """The URL of each service now: a restart moves it to another port."""
        state = json.loads((self.folder / ".bandstand" / "state.json").read_text())
        return {one["service"]: one["url"] for one in state["processes"] if one["service"] and one["url"]}

    @property
    def client(self) -> Client:
        return Client(base=self.gateway)

    def person(self, name: str) -> Person:
        """Register somebody new and sign in."""
        email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        password = "correct-horse-battery"
        user = self.client.post(
            "/api/users/", {"email": email, "username": email.partition("@")[0], "password": password}
        )
        assert user.status == 201, user
        sign_in = SignIn(client=self.client, email=email, password=password)
        sign_in.token()
        return Person(id=user.body["id"], email=email, client=Client(base=self.gateway, sign_in=sign_in))

    def logs(self) -> dict[str, list[dict[str, Any]]]:
        """Return the JSON records of each process's log by the name of its file."""
        records: dict[str, list[dict[str, Any]]] = {}
        for path in (self.folder / ".bandstand" / "logs").glob("*.log"):
            lines = path.read_text(errors="replace").splitlines()
            records[path.stem] = [json.loads(line) for line in lines if line.startswith("{")]
        return records


def run(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run `bandstand` in ``folder`` and return what it printed."""
    return subprocess.run(
        [BANDSTAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )


def copy_shop(target: Path) -> Path:
    """Copy shop/ without its state, so that a test never touches the data or the port of a shop that somebody runs."""
    ignore = shutil.ignore_patterns(".bandstand", "__pycache__", ".pytest_cache")
    folder = Path(shutil.copytree(ROOT / "shop", target / "shop", ignore=ignore))
    manifest = folder / "bandstand.toml"
    source = manifest.read_text()
    assert source.count("\nport = 8000\n") == 1, "shop/bandstand.toml no longer states the usual port"
    manifest.write_text(source.replace("\nport = 8000\n", f"\nport = {guarded_port()}\n"))
    return folder


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the living processes that mention ``folder`` in their command, folder or environment."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            mentions = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in text for text in mentions):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def eventually(check: Callable[[], T], *, what: str = "", pause: float = 0.05) -> T:
    """Return the first true value of ``check``; the platform works asynchronously, so wait for what must come.

    A check that costs the machine something is made every ``pause`` seconds only.
    """
    return until(check, what or "what the last line of the test names", pause=pause)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Start the shop once, as it is but for the limit of one address, from which all these tests come."""
    folder = copy_shop(tmp_path_factory.mktemp("platform"))
    manifest = folder / "bandstand.toml"
    source = manifest.read_text()
    raised = source.replace("minute = 100", "minute = 100000").replace("hour = 1000 ", "hour = 100000 ")
    assert raised != source, "shop/bandstand.toml no longer states the default limits"
    manifest.write_text(raised)
    with running(folder) as shop:
        yield shop


@contextmanager
def running(folder: Path) -> Iterator[Shop]:
    """Start what is in ``folder``, and leave nothing behind."""
    up = run(folder, "up", "--detach", "--json")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        said = json.loads(up.stdout)
        yield Shop(
            folder=folder,
            gateway=said["gateway"].rstrip("/"),
            mail=Path(said["mail"]),
            seconds=said["seconds"],
        )
    finally:
        run(folder, "down")
    assert processes_of(folder) == []
