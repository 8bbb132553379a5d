"""The folder ``.bandstand/`` of a workspace: where everything that a run leaves behind is kept."""

import errno
import os
from pathlib import Path
from tempfile import mkstemp
from typing import Final

import msgspec

__all__ = ["StateFolder", "file_hint", "replace_file"]

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK_HINT: Final = "The disk, or your part of it, is full: make room, then try again."
_FILE_HINT: Final = "Everything of a run lies in .bandstand/ beside bandstand.toml; you must be able to write there."

_PARTS: Final = ("logs", "mail", "keys", "ready", "envoy", "postgres", "nats", "rabbitmq", "redis")


class StateFolder(msgspec.Struct, frozen=True):
    """Names the places inside ``.bandstand/``. Nobody but the owner may look into it (mode 0700)."""

    root: Path

    @classmethod
    def of(cls, workspace: Path) -> "StateFolder":
        """Return the state folder of the workspace whose ``bandstand.toml`` lies in the folder ``workspace``."""
        return cls(workspace / ".bandstand")

    def prepare(self) -> None:
        """Make the folder and its parts, with a ``.gitignore`` so that no secret is ever committed."""
        for folder in (self.root, *(self.root / part for part in _PARTS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            replace_file(ignore, "*\n", mode=0o644)

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def restart_request(self) -> Path:
        """Where a command writes which services are to be restarted."""
        return self.root / "restart.json"

    @property
    def restart_turn(self) -> Path:
        """Held locked by the command that asks for a restart."""
        return self.root / "restart.lock"

    @property
    def rotation_turn(self) -> Path:
        """Held locked by the command that changes passwords and keys."""
        return self.root / "rotation.lock"

    @property
    def credentials(self) -> Path:
        return self.root / "secrets.json"

    @property
    def registry(self) -> Path:
        return self.root / "registry.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def mail(self) -> Path:
        return self.root / "mail"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def envoy(self) -> Path:
        return self.root / "envoy"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def rabbitmq(self) -> Path:
        return self.root / "rabbitmq"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def ready(self, process: str) -> Path:
        """The file that a worker makes when it is ready, and removes when it is not."""
        return self.root / "ready" / process


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """Put ``content`` in the place of ``path`` in one step, so that no reader ever sees half of it.

    ``durable`` waits until the disk has it: for what cannot be made anew, as the passwords of a database.

    Raises:
        OSError: it could not be written, with ``path`` as its file name; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        # The system names no file where a write fails, and the message has to.
        raise OSError(error.errno, error.strerror, str(path)) from error


def file_hint(error: OSError) -> str:
    """Return what to do about a file of a run that can't be used."""
    return _DISK_HINT if error.errno in _DISK_FULL else _FILE_HINT
