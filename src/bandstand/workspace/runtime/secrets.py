"""The secrets of a platform in production: one file for each, made once, as Compose and Kubernetes mount them.

What a service reads is the truth (``user-service/DATABASE_URL``) and changes only when it is rotated. What the servers
need to know of it (roles, users, rights) is derived from it each time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import NAMESPACE_OID, uuid4, uuid5

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.environment import SERVICE_KEY, TRUSTED_KEYS, USER_KEY
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.rotation import RotationStep
from bandstand.workspace.runtime.accounts import ADMINISTRATOR, Account, is_second, other_user
from bandstand.workspace.runtime.keys import key_set
from bandstand.workspace.runtime.secret_files import SecretFiles
from bandstand.workspace.runtime.servers.definitions import definitions
from bandstand.workspace.runtime.servers.nats import authorization
from bandstand.workspace.runtime.servers.redis import access_rules
from bandstand.workspace.runtime.servers.scram import scram_verifier

__all__ = ["rotate_files", "write_secrets"]

_HEALTH: Final = "user health on nopass resetkeys resetchannels -@all +ping\n"
_URLS: Final = (wire.DATABASE_URL, wire.CACHE_URL, wire.BROKER_URL)


def write_secrets(workspace: Workspace, folder: Path) -> list[Path]:
    """Make what is missing in ``folder``, derive the rest, and return the files that are new or changed.

    Raises:
        WorkspaceError: a file that is there can't be understood; it is never written over.
    """
    return _Secrets(workspace, SecretFiles(folder)).write()


def rotate_files(workspace: Workspace, folder: Path, step: RotationStep) -> list[Path]:
    """Write the files of ``folder`` as they are in ``step`` of a change of all passwords and keys.

    Returns:
        The files that are new or changed.

    Raises:
        WorkspaceError: another step comes first, or a file can't be understood; it is never written over.
    """
    files = SecretFiles(folder)
    if not folder.exists():
        raise WorkspaceError(f"There are no secrets in {folder}.", hint="Make them: bandstand secrets")
    files.enter(step)
    return _Secrets(workspace, files).write()


class _Secrets:
    def __init__(self, workspace: Workspace, files: SecretFiles) -> None:
        self._workspace = workspace
        self._files = files
        self._broker = workspace.production.broker

    def write(self) -> list[Path]:
        before = {path: path.read_bytes() for path in self._files.paths()}
        self._files.open()
        for service in self._workspace.services:
            self._write_service(service)
        self._write_keys()
        self._write_postgres()
        self._write_valkey()
        self._write_broker()
        if self._workspace.production.discovery == "consul":
            self._write_consul()
        self._files.close()
        return [path for path in self._files.paths() if before.get(path) != path.read_bytes()]

    def _write_service(self, service: Service) -> None:
        name, files = service.name, self._files
        database = f"postgresql://{service.identifier}:{_password()}@postgres:5432/{service.identifier}"
        files.make(f"{name}/{wire.SECRET_KEY}", _secret_key())
        files.make(f"{name}/{wire.DATABASE_URL}", database)
        files.make(f"{name}/{wire.CACHE_URL}", f"redis://{name}:{_password()}@valkey:6379/0")
        files.make(f"{name}/{wire.BROKER_URL}", self._broker_url(name, _password()))
        files.make(f"{name}/{wire.EMAIL_URL}", "console://")
        files.change(f"{name}/{wire.SECRET_KEY}", lambda _: _secret_key(), several=True)
        for variable in _URLS:
            files.change(f"{name}/{variable}", _successor)
        if self._workspace.production.discovery == "consul":
            files.make(f"{name}/{wire.DISCOVERY_TOKEN}", str(uuid4()))
            files.change(f"{name}/{wire.DISCOVERY_TOKEN}", lambda _: str(uuid4()))

    def _broker_url(self, user: str, password: str) -> str:
        if self._broker == "nats":
            return f"nats://{user}:{password}@nats:4222"
        return f"amqp://{user}:{password}@rabbitmq:5672/{quote('/', safe='')}"

    def _write_keys(self) -> None:
        names = self._workspace.service_names
        keys = [key for name in names for key in self._files.keys(f"{name}/{SERVICE_KEY}", name, "service")]
        for service in self._workspace.services:
            self._files.derive(f"{service.name}/{TRUSTED_KEYS}", key_set(keys))
            if service.issues_user_tokens:
                self._files.keys(f"{service.name}/{USER_KEY}", service.name, "users")

    def _write_postgres(self) -> None:
        """Derive a verifier for each role; that of a role which may not log in is empty."""
        current, *others = self._administrator("postgres")
        self._files.derive("postgres/administrator.before", "".join(others))
        self._files.derive("postgres/administrator.verifier", _verifier("postgres", current))
        for service in self._workspace.services:
            verifiers = {
                account.user: _verifier(account.user, account.password)
                for account in self._accounts(service.name, wire.DATABASE_URL)
                if account.password
            }
            for user in (service.name, other_user(service.name)):
                self._files.derive(f"postgres/{user}", verifiers.get(user, ""))

    def _write_valkey(self) -> None:
        rules = access_rules(self._administrators("valkey"), self._all_accounts(wire.CACHE_URL))
        self._files.derive("valkey/users.acl", "".join(rules) + _HEALTH)

    def _write_broker(self) -> None:
        administrators, accounts = self._administrators(self._broker), self._all_accounts(wire.BROKER_URL)
        url = self._broker_url(ADMINISTRATOR, administrators[0].password)
        self._files.derive(f"{self._broker}/{wire.BROKER_ADMIN_URL}", url)
        if self._broker == "nats":
            self._files.derive("nats/nats.conf", _json(_nats(self._workspace.name, administrators, accounts)))
        else:
            rights = definitions(self._workspace.name, administrators, accounts)
            self._files.derive("rabbitmq/definitions.json", _json(rights))

    def _administrator(self, server: str) -> tuple[str, ...]:
        """Return the passwords of the administrator, whom only jobs use: the new one first, from the first step on."""
        name = f"{server}/administrator"
        self._files.make(name, _password())
        self._files.change(name, lambda _: _password(), at_once=True)
        return self._files.accepted(name, at_once=True)

    def _administrators(self, server: str) -> tuple[Account, ...]:
        return (Account(service="", user=ADMINISTRATOR, password=self._administrator(server)[0]),)

    def _write_consul(self) -> None:
        """Derive the file that turns Consul's access control on, and the tokens that a job creates in Consul."""
        self._files.make("consul/administrator", str(uuid4()))
        administrator = self._files.text("consul/administrator")
        # Consul calls the first one initial_management since 1.11, and takes this name still.
        own = {"master": administrator, "agent": administrator}
        rules = {"enabled": True, "default_policy": "deny", "tokens": own}
        self._files.derive("consul/consul.json", _json({"acl": rules}))
        for name in self._workspace.service_names:
            accepted = self._files.accepted(f"{name}/{wire.DISCOVERY_TOKEN}")
            self._files.derive(
                f"consul/{name}", "".join(f"{uuid5(NAMESPACE_OID, token)} {token}\n" for token in accepted)
            )

    def _all_accounts(self, variable: str) -> tuple[Account, ...]:
        return tuple(account for name in self._workspace.service_names for account in self._accounts(name, variable))

    def _accounts(self, service: str, variable: str) -> Iterator[Account]:
        """Yield the accounts of ``service`` in the URL ``variable`` that are accepted; the second user's name tells."""
        name = f"{service}/{variable}"
        for url in self._files.accepted(name):
            user, password = _login(self._files.path(name), url)
            yield Account(service=service, user=other_user(service) if is_second(user) else service, password=password)


def _nats(platform: str, administrators: Iterable[Account], accounts: Iterable[Account]) -> dict[str, Any]:
    """NATS' own format is a superset of JSON."""
    return {
        "server_name": f"{platform}-1",
        "listen": "0.0.0.0:4222",
        "http": "127.0.0.1:8222",
        # An event counts as taken when the disk has it.
        "jetstream": {"store_dir": "/data", "sync_interval": "always", "max_file_store": 20 << 30},
        "authorization": authorization(platform, administrators, accounts),
        "max_payload": 1 << 20,
        "lame_duck_duration": "30s",
    }


def _login(path: Path, url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url.strip())
        user, password = parts.username, parts.password
    except ValueError as error:
        raise WorkspaceError(
            f"{path} is no URL: {error}.", hint="Mend the file, or remove it for a new one."
        ) from error
    return unquote(user or ""), unquote(password or "")


def _successor(url: str) -> str | None:
    """Return ``url`` with the other user and a new password; nothing changes in one that has none."""
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        return None
    login = f"{quote(other_user(unquote(parts.username)), safe='')}:{_password()}"
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


def _verifier(user: str, password: str) -> str:
    """Return the verifier of a password; its salt follows from the user's name, so that the file stays the same."""
    return scram_verifier(password, hashlib.sha256(user.encode()).digest()[:16])


def _password() -> str:
    return token_urlsafe(32)


def _secret_key() -> str:
    return token_urlsafe(50)


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
