"""The secrets of a platform in production: one file for each, made once, as Compose and Kubernetes mount them.

What a service reads is the truth (``user-service/DATABASE_URL``) and is never written over. What the servers need to
know of it (roles, users, rights) is derived from it each time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.environment import SERVICE_KEY, TRUSTED_KEYS, USER_KEY
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.runtime.folder import replace_file
from bandstand.workspace.runtime.keys import kept_key, key_set
from bandstand.workspace.runtime.servers.definitions import RabbitMqUser, definitions
from bandstand.workspace.runtime.servers.nats import ADMINISTRATOR, NatsUser, authorization
from bandstand.workspace.runtime.servers.redis import RedisUser, access_rules
from bandstand.workspace.runtime.servers.scram import scram_verifier

__all__ = ["write_secrets"]

# The folder is the owner's alone; inside of it files can be read by all, since a container's user is somebody else.
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o444

_HEALTH: Final = "user health on nopass resetkeys resetchannels -@all +ping\n"


def write_secrets(workspace: Workspace, folder: Path) -> list[Path]:
    """Make what is missing in ``folder``, derive the rest, and return the files that are new or changed.

    Raises:
        WorkspaceError: a file that is there can't be understood; it is never written over.
    """
    before = {path: path.read_bytes() for path in _files(folder)}
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)
    (folder / ".gitignore").write_text("*\n")
    for service in workspace.services:
        _service(workspace, service, folder)
    _trust(workspace, folder)
    _stores(workspace, folder)
    for path in _files(folder):
        path.chmod(_FILE_MODE)
    return [path for path in _files(folder) if before.get(path) != path.read_bytes()]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def _service(workspace: Workspace, service: Service, folder: Path) -> None:
    own = folder / service.name
    _make(own / wire.SECRET_KEY, token_urlsafe(50))
    _make(
        own / wire.DATABASE_URL, f"postgresql://{service.identifier}:{_password()}@postgres:5432/{service.identifier}"
    )
    _make(own / wire.CACHE_URL, f"redis://{service.name}:{_password()}@valkey:6379/0")
    _make(own / wire.BROKER_URL, _broker_url(workspace, service))
    _make(own / wire.EMAIL_URL, "console://")
    if workspace.production.discovery == "consul":
        _make(own / wire.DISCOVERY_TOKEN, str(uuid4()))
    kept_key(own / SERVICE_KEY, service.name, "service", mark="")
    if service.issues_user_tokens:
        kept_key(own / USER_KEY, service.name, "users", mark="")


def _broker_url(workspace: Workspace, service: Service) -> str:
    return _url_of_broker(workspace, service.name, _password())


def _url_of_broker(workspace: Workspace, user: str, password: str) -> str:
    if workspace.production.broker == "nats":
        return f"nats://{user}:{password}@nats:4222"
    return f"amqp://{user}:{password}@rabbitmq:5672/{quote('/', safe='')}"


def _trust(workspace: Workspace, folder: Path) -> None:
    names = workspace.service_names
    keys = key_set(kept_key(folder / name / SERVICE_KEY, name, "service", mark="") for name in names)
    for name in names:
        _derive(folder / name / TRUSTED_KEYS, keys)


def _stores(workspace: Workspace, folder: Path) -> None:
    _make(folder / "postgres" / "administrator", _password())
    for service in workspace.services:
        _derive(folder / "postgres" / service.name, _verifier(folder / service.name / wire.DATABASE_URL))
    _make(folder / "valkey" / "administrator", _password())
    users = [
        RedisUser(name=name, password=password) for name, password in _passwords(workspace, folder, wire.CACHE_URL)
    ]
    rules = "".join(access_rules((folder / "valkey" / "administrator").read_text(), users))
    _derive(folder / "valkey" / "users.acl", rules + _HEALTH)
    _broker(workspace, folder)
    if workspace.production.discovery == "consul":
        _consul(folder / "consul")


def _consul(registry: Path) -> None:
    """Derive the file that turns Consul's access control on; a job creates the tokens of services in Consul."""
    _make(registry / "administrator", str(uuid4()))
    administrator = (registry / "administrator").read_text().strip()
    # Consul calls the first one initial_management since 1.11, and takes this name still.
    tokens = {"master": administrator, "agent": administrator}
    rules = {"enabled": True, "default_policy": "deny", "tokens": tokens}
    _derive(registry / "consul.json", _json({"acl": rules}))


def _verifier(path: Path) -> str:
    """Return the verifier of a password; its salt follows from the service's name, so that the file stays the same."""
    password = _password_in(path)
    return scram_verifier(password, hashlib.sha256(path.parent.name.encode()).digest()[:16]) if password else ""


def _broker(workspace: Workspace, folder: Path) -> None:
    broker = folder / workspace.production.broker
    _make(broker / "administrator", _password())
    administrator = (broker / "administrator").read_text()
    passwords = list(_passwords(workspace, folder, wire.BROKER_URL))
    _derive(broker / wire.BROKER_ADMIN_URL, _url_of_broker(workspace, ADMINISTRATOR, administrator))
    if workspace.production.broker == "nats":
        _derive(broker / "nats.conf", _json(_nats(workspace, administrator, passwords)))
    else:
        users = [RabbitMqUser(name=name, password=password) for name, password in passwords]
        _derive(broker / "definitions.json", _json(definitions(workspace.name, administrator, users)))


def _nats(workspace: Workspace, administrator: str, passwords: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """NATS' own format is a superset of JSON."""
    users = [NatsUser(name=name, password=password) for name, password in passwords]
    return {
        "server_name": f"{workspace.name}-1",
        "listen": "0.0.0.0:4222",
        "http": "127.0.0.1:8222",
        # An event counts as taken when the disk has it.
        "jetstream": {"store_dir": "/data", "sync_interval": "always", "max_file_store": 20 << 30},
        "authorization": authorization(workspace.name, administrator, users),
        "max_payload": 1 << 20,
        "lame_duck_duration": "30s",
    }


def _passwords(workspace: Workspace, folder: Path, variable: str) -> Iterator[tuple[str, str]]:
    for name in workspace.service_names:
        yield name, _password_in(folder / name / variable)


def _password_in(path: Path) -> str:
    try:
        password = urlsplit(path.read_text().strip()).password
    except (UnicodeDecodeError, ValueError) as error:
        raise WorkspaceError(
            f"{path} is no URL: {error}.", hint="Mend the file, or remove it for a new one."
        ) from error
    return unquote(password or "")


def _password() -> str:
    return token_urlsafe(32)


def _make(path: Path, content: str) -> None:
    if not path.exists():
        path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        replace_file(path, content, durable=True)


def _derive(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    replace_file(path, content, durable=True)


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
