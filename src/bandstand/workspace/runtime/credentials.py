"""The passwords and secret keys of a workspace, made once and kept in ``secrets.json`` (mode 0600).

All of them begin with the development mark, so a service with ``DEBUG`` off refuses to start on one.
"""

from collections.abc import Iterable
from pathlib import Path
from secrets import token_urlsafe

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.runtime.folder import replace_file

__all__ = ["Credentials", "ServiceCredentials", "load_credentials"]


def _secret() -> str:
    return wire.DEVELOPMENT_MARK + token_urlsafe(32)


class ServiceCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What one service proves itself with."""

    secret_key: str = msgspec.field(default_factory=_secret)
    postgres: str = msgspec.field(default_factory=_secret)
    redis: str = msgspec.field(default_factory=_secret)
    nats: str = msgspec.field(default_factory=_secret)
    rabbitmq: str = msgspec.field(default_factory=_secret)

    def __repr__(self) -> str:
        return "ServiceCredentials(…)"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The administrators' passwords of the servers, and those of each service."""

    postgres: str = msgspec.field(default_factory=_secret)
    redis: str = msgspec.field(default_factory=_secret)
    nats: str = msgspec.field(default_factory=_secret)
    rabbitmq: str = msgspec.field(default_factory=_secret)
    services: dict[str, ServiceCredentials] = {}

    def __repr__(self) -> str:
        return f"Credentials(services={sorted(self.services)})"


def load_credentials(path: Path, services: Iterable[str]) -> Credentials:
    """Read the credentials at ``path`` and make what is missing for ``services``.

    Raises:
        WorkspaceError: the file is there but can't be read; it is never written over.
    """
    known = _read(path)
    missing = {name: ServiceCredentials() for name in services if name not in known.services}
    complete = msgspec.structs.replace(known, services={**known.services, **missing})
    content = msgspec.json.format(msgspec.json.encode(complete))
    if not path.exists() or path.read_bytes() != content:  # what an earlier release did not know is made here too
        replace_file(path, content, durable=True)
    path.chmod(0o600)
    return complete


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
