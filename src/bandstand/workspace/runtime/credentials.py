"""The passwords and secret keys of a workspace, made once and kept in ``secrets.json`` (mode 0600).

All of them begin with the development mark, so a service with ``DEBUG`` off refuses to start on one.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_urlsafe
from typing import Literal

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.rotation import Rotation, RotationStep, arranged
from bandstand.workspace.runtime.accounts import Account, other_user
from bandstand.workspace.runtime.folder import replace_file

__all__ = ["Credentials", "ServerKind", "ServiceCredentials", "load_credentials", "save_credentials"]

ServerKind = Literal["postgres", "redis", "nats", "rabbitmq"]


def _secret() -> str:
    return wire.DEVELOPMENT_MARK + token_urlsafe(32)


class ServerPasswords(msgspec.Struct, frozen=True, kw_only=True):
    """A password for each server. ``second`` says that they are those of the second user there."""

    postgres: str = msgspec.field(default_factory=_secret)
    redis: str = msgspec.field(default_factory=_secret)
    nats: str = msgspec.field(default_factory=_secret)
    rabbitmq: str = msgspec.field(default_factory=_secret)
    second: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def account(self, server: ServerKind, user: str, service: str = "") -> Account:
        """Return the account at ``server`` of the one whose first user is called ``user``."""
        name = other_user(user) if self.second else user
        return Account(service=service, user=name, password=getattr(self, server))


class ServiceCredentials(ServerPasswords, frozen=True, kw_only=True):
    """The passwords of one service, and its secret key."""

    secret_key: str = msgspec.field(default_factory=_secret)


class Credentials(ServerPasswords, frozen=True, kw_only=True):
    """The administrators' passwords of the servers, and those of each service.

    While they change, ``others`` are accepted too: those that come next, or those that go (:class:`Rotation`).
    """

    services: dict[str, ServiceCredentials] = {}
    rotation: Rotation | None = None
    others: "Credentials | None" = None

    def __repr__(self) -> str:
        return f"Credentials(services={sorted(self.services)})"

    def administrators(self, server: ServerKind, user: str) -> tuple[Account, ...]:
        """Return the accounts of the administrator at ``server`` that are accepted, the one in use first."""
        return tuple(each.account(server, user) for each in self._accepted())

    def accounts(
        self, server: ServerKind, services: Iterable[str], *, user: Callable[[str], str] = str
    ) -> tuple[Account, ...]:
        """Return the accounts of ``services`` at ``server`` that are accepted, those in use first.

        ``user`` makes the name of the first user from that of the service.
        """
        names = tuple(services)
        accounts = (
            each.services[name].account(server, user(name), name)
            for each in self._accepted()
            for name in names
            if name in each.services
        )
        return tuple(dict.fromkeys(accounts))

    def secret_keys(self, service: str) -> tuple[str, ...]:
        """Return the secret keys of ``service``: the first signs, and all are accepted."""
        keys = (each.services[service].secret_key for each in self._accepted() if service in each.services)
        return tuple(dict.fromkeys(keys))

    def rotated(self, step: RotationStep) -> "Credentials":
        """Return the credentials in ``step`` of the change that is under way, or of one that begins now."""
        own = msgspec.structs.replace(self, rotation=None, others=None)
        if self.others is None:
            old, new = own, _successors(own)
        elif self.rotation is not None and self.rotation.step is RotationStep.ACCEPT:
            old, new = own, self.others
        else:
            old, new = self.others, own
        # One that was added meanwhile has nothing old.
        new = msgspec.structs.replace(new, services={**old.services, **new.services})
        current, *others = arranged(step, old, new)
        if not others:
            return current
        return msgspec.structs.replace(current, rotation=Rotation.after(self.rotation, step), others=others[0])

    def _accepted(self) -> tuple["Credentials", ...]:
        return (self,) if self.others is None else (self, self.others)


def _successors(old: Credentials) -> Credentials:
    """Return new passwords for everything, of the users that are not in use now."""
    services = {name: ServiceCredentials(second=not each.second) for name, each in old.services.items()}
    return Credentials(second=not old.second, services=services)


def load_credentials(path: Path, services: Iterable[str]) -> Credentials:
    """Read the credentials at ``path`` and make what is missing for ``services``.

    Raises:
        WorkspaceError: the file is there but can't be read; it is never written over.
    """
    known = _read(path)
    missing = {name: ServiceCredentials() for name in services if name not in known.services}
    complete = msgspec.structs.replace(known, services={**known.services, **missing})
    if not path.exists() or path.read_bytes() != _content(complete):  # an earlier release may have known less
        save_credentials(path, complete)
    path.chmod(0o600)
    return complete


def save_credentials(path: Path, credentials: Credentials) -> None:
    """Write ``credentials`` in the place of those at ``path``."""
    replace_file(path, _content(credentials), durable=True)


def _content(credentials: Credentials) -> bytes:
    return msgspec.json.format(msgspec.json.encode(credentials))


def _read(path: Path) -> Credentials:
    if not path.exists():
        return Credentials()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except msgspec.MsgspecError as error:
        raise WorkspaceError(
            f"{path} can't be read: {error}",
            hint=(
                "It holds the passwords of the databases. "
                f"Restore it, or remove {path.parent} and begin with empty databases."
            ),
        ) from error
