"""The pytest plugin for a service's own tests: ``addopts = ["-p", "bandstand.testing.plugin"]``.

Before Django reads the settings it puts the service's environment in place: a PostgreSQL of its own, from the wheel or
from the machine as ``bandstand.toml`` says (or the one that ``DATABASE_URL`` names), the memory broker, the memory
cache, fresh keys, and the list of callers that ``bandstand.toml`` gives the service. Fixtures:

- ``api_client``: DRF's test client, whose answers carry problem documents as a real client would see them.
- ``user_token(user_id, staff=False)``: a user token, as the platform's issuer would sign it.
- ``as_user(user_id, staff=False)`` and ``as_service(name)``: a client that calls as a user, or as another service.
- ``as_role(role, owner_id)``: a client of one kind of caller, for a table of who may do what.
- ``service_headers(name)``: the headers of a call by another service, on its list of callers or not.
- ``fake_services``: answers for the services that this one calls; an undeclared call is an error.
- ``published_events(type)``, ``deliver_events()``, ``receive_event(event, key=…, source=…)``: what was published, its
  way through the handlers, and events of other services.
"""

import atexit
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.identity import PrivateKey, ServiceTokens, generate_key, issue_user_token, key_set
from bandstand.testing.postgres import EphemeralPostgres
from bandstand.testing.services import FakeServices
from bandstand.testing.services import fake_services as _fake_services
from bandstand.workspace import manifest
from bandstand.workspace.runtime.environment import remove_libpq_variables
from bandstand.workspace.runtime.system import find_system_postgres

if TYPE_CHECKING:
    from rest_framework.test import APIClient

__all__ = ["Platform"]


class Platform:
    """The platform around the service under test: its name, the callers, and a key for everybody in it."""

    def __init__(self, folder: Path) -> None:
        self.service = folder.name
        self.name = "tests"
        self.callers: tuple[str, ...] = ()
        self.postgres = manifest.Server(kind="postgres")
        names = [self.service]
        workspace = _workspace(folder)
        if workspace is not None:
            self.service = next((each.name for each in workspace.services if each.folder == folder), folder.name)
            self.name = workspace.name
            self.postgres = workspace.servers.postgres
            self.callers = workspace.callers_of(self.service)
            names = [*workspace.service_names]
        self.keys: dict[str, PrivateKey] = {name: generate_key(name) for name in {*names, self.service, _STRANGER}}

    def environment(self, keys: Path, database_url: str) -> dict[str, str]:
        """Write the key files into ``keys`` and return the variables of the service under test."""
        own = _write(keys / "service.json", self.keys[self.service].to_jwk())
        trusted = _write(keys / "trusted.json", key_set(key.public for key in self.keys.values()))
        user = _write(keys / "user.json", generate_key("").to_jwk())
        return {
            wire.SERVICE: self.service,
            wire.PLATFORM: self.name,
            wire.SECRET_KEY: "a secret of the tests, long enough for every check of Django's",
            wire.DEBUG: "false",
            wire.TESTING: "1",
            wire.ADMIN: "true",
            wire.ALLOWED_HOSTS: "testserver,localhost,127.0.0.1",
            wire.DATABASE_URL: database_url,
            wire.CACHE_URL: "memory://",
            wire.BROKER_URL: "memory://",
            wire.EMAIL_URL: "memory://",
            wire.DISCOVERY_URL: "static:",
            wire.SERVICE_KEY_FILE: str(own),
            wire.TRUSTED_KEYS_FILE: str(trusted),
            wire.USER_KEY_FILE: str(user),
            wire.ALLOWED_CALLERS: ",".join(self.callers),
        }


_STRANGER: Final = "stranger-service"
"""A service with a good key that is on nobody's list of callers."""

_resources: Final = ExitStack()
# At exit and not in a hook, so that a run that fails before its first hook leaves nothing behind either.
atexit.register(_resources.close)
_platform: Final = pytest.StashKey[Platform]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Put the environment in place before pytest-django, which runs inside this hook, reads the settings."""
    remove_libpq_variables(os.environ)
    platform = Platform(early_config.rootpath)
    early_config.stash[_platform] = platform
    keys = Path(_resources.enter_context(tempfile.TemporaryDirectory(prefix="bandstand-keys-")))
    database_url = os.environ.get(wire.DATABASE_URL) or _database(platform.postgres)
    os.environ.update(platform.environment(keys, database_url))
    return (yield)


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    """Throttles and caches of one test never reach the next."""
    from django.core.cache import caches  # noqa: PLC0415 - Django is ready only now

    yield
    for cache in caches.all(initialized_only=True):
        cache.clear()


@pytest.fixture
def user_token() -> Callable[..., str]:
    """Return a function that signs a token for a user."""

    def sign(user_id: object, *, staff: bool = False, **claims: Any) -> str:
        return issue_user_token(str(user_id), staff=staff, **claims)

    return sign


@pytest.fixture
def service_headers(request: pytest.FixtureRequest) -> Callable[[str], dict[str, str]]:
    """Return a function that makes the headers with which the named service calls this one."""
    platform = request.config.stash[_platform]

    def headers(caller: str) -> dict[str, str]:
        tokens = ServiceTokens(caller, lambda: platform.keys[caller], lifetime=60)
        return {wire.SERVICE_TOKEN: tokens.token(platform.service)}

    return headers


@pytest.fixture
def api_client() -> "APIClient":
    """Return a client that is nobody, and gets an answer even where a view raised."""
    from rest_framework.test import APIClient  # noqa: PLC0415 - Django is ready only now

    client = APIClient(raise_request_exception=False)
    client.default_format = "json"
    return client


@pytest.fixture
def as_user(user_token: Callable[..., str]) -> Callable[..., "APIClient"]:
    """Return a function that makes a client with a user's token, which belongs to a sign-in of its own."""
    from rest_framework.test import APIClient  # noqa: PLC0415 - Django is ready only now

    def client(user_id: object, *, staff: bool = False, **claims: Any) -> APIClient:
        token = user_token(user_id, staff=staff, **{"sid": str(uuid4()), **claims})
        made = APIClient(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})
        made.default_format = "json"
        return made

    return client


@pytest.fixture
def as_service(service_headers: Callable[[str], dict[str, str]]) -> Callable[[str], "APIClient"]:
    """Return a function that makes a client with another service's token."""
    from rest_framework.test import APIClient  # noqa: PLC0415 - Django is ready only now

    def client(caller: str) -> APIClient:
        made = APIClient(raise_request_exception=False, headers=service_headers(caller))
        made.default_format = "json"
        return made

    return client


@pytest.fixture
def as_role(
    request: pytest.FixtureRequest,
    api_client: "APIClient",
    as_user: Callable[..., "APIClient"],
    as_service: Callable[[str], "APIClient"],
) -> Callable[..., "APIClient"]:
    """Return a function that makes a client of one kind of caller, for tables of who may do what.

    ``as_role("owner", owner_id)`` is the user of that id; ``other`` another user, ``staff`` another user who is staff;
    ``anonymous`` nobody; ``service`` one on the list of callers, ``wrong_service`` one that is not. Ids are UUIDs.
    """
    callers = request.config.stash[_platform].callers

    def client(role: str, owner: object = None) -> "APIClient":
        clients: dict[str, Callable[[], APIClient]] = {
            "owner": lambda: as_user(owner),
            "other": lambda: as_user(uuid4()),
            "staff": lambda: as_user(uuid4(), staff=True),
            "anonymous": lambda: api_client,
            "service": lambda: as_service(callers[0]),
            "wrong_service": lambda: as_service(_STRANGER),
        }
        return clients[role]()

    return client


@pytest.fixture
def fake_services() -> Iterator[FakeServices]:
    """Answer for the services that this one calls."""
    with _fake_services() as fakes:
        yield fakes


@pytest.fixture
def published_events() -> Callable[..., Any]:
    """Return the function of that name of ``bandstand.testing.events``."""
    from bandstand.testing import events  # noqa: PLC0415 - models need Django to be ready

    return events.published_events


@pytest.fixture
def deliver_events() -> Callable[..., int]:
    """Return the function of that name of ``bandstand.testing.events``."""
    from bandstand.testing import events  # noqa: PLC0415 - models need Django to be ready

    return events.deliver_events


@pytest.fixture
def receive_event() -> Callable[..., int]:
    """Return the function of that name of ``bandstand.testing.events``."""
    from bandstand.testing import events  # noqa: PLC0415 - models need Django to be ready

    return events.receive_event


def _database(server: manifest.Server) -> str:
    """Start a PostgreSQL that ends with this process, with the programs that `bandstand up` would run, for its URL."""
    programs = find_system_postgres(server.programs).folder if server.system else None
    return _resources.enter_context(EphemeralPostgres(programs)).url


def _workspace(folder: Path) -> manifest.Workspace | None:
    """Return the workspace that the folder belongs to, or None for a service that stands alone."""
    try:
        path = manifest.locate(folder)
    except WorkspaceError:
        return None
    # Only the names matter here: the other services of the platform need not lie beside this one.
    return manifest.parse(path.read_text(), path)


def _write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path
