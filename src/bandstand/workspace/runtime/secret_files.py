"""A folder of secrets in production: one file for each, made once, and changed only in the steps of a rotation.

While that is under way, ``rotation.json`` says how far it has come, and ``rotation/old`` and ``rotation/new`` hold both
values of each secret that changes. What a step writes follows from these alone, so one that was interrupted is done
again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.rotation import Rotation, RotationStep, arranged
from bandstand.workspace.runtime.folder import replace_file
from bandstand.workspace.runtime.keys import Keys, keys_in_step

__all__ = ["SecretFiles"]

# The folder is the owner's alone; inside of it files can be read by all, since a container's user is somebody else.
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o444
_NEXT: Final = {
    None: RotationStep.ACCEPT,
    RotationStep.ACCEPT: RotationStep.USE,
    RotationStep.USE: RotationStep.RETIRE,
    RotationStep.RETIRE: RotationStep.RETIRE,
}


class SecretFiles:
    """The files below ``folder``, by paths such as ``user-service/DATABASE_URL``.

    Raises:
        WorkspaceError: what is known of a rotation can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / "rotation.json"
        self._rotation = folder / "rotation"
        self._under_way = self._read_record()

    @property
    def step(self) -> RotationStep | None:
        """The step of the rotation that is under way."""
        return self._under_way.step if self._under_way else None

    def open(self) -> None:
        """Make the folder, which Git ignores."""
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self._folder.chmod(_FOLDER_MODE)
        (self._folder / ".gitignore").write_text("*\n")

    def close(self) -> None:
        """Set the modes of the files, and end a rotation that has come to its last step."""
        for path in self.paths():
            path.chmod(_FILE_MODE)
        if self.step is RotationStep.RETIRE:
            shutil.rmtree(self._rotation, ignore_errors=True)
            self._record.unlink(missing_ok=True)

    def enter(self, step: RotationStep) -> None:
        """Go to ``step`` of a rotation; nothing changes yet.

        Raises:
            WorkspaceError: it is not the one that comes next.
        """
        if step not in {self.step, _NEXT[self.step]}:
            now = self._under_way
            state = f"is at the step {now.step} since {now.begun}" if now else "has not begun"
            raise WorkspaceError(
                f"The step {step} can't come now: the change of the secrets in {self._folder} {state}.",
                hint=f"Next is: bandstand secrets rotate --step {_NEXT[self.step]}",
            )
        self._under_way = Rotation.after(self._under_way, step)
        replace_file(self._record, msgspec.json.encode(self._under_way), durable=True)

    def paths(self) -> list[Path]:
        """Return all files with secrets."""
        return sorted(path for path in self._folder.glob("*/*") if path.is_file())

    def path(self, name: str) -> Path:
        """Return where the file ``name`` lies."""
        return self._folder / name

    def text(self, name: str) -> str:
        """Return the content of the file ``name``."""
        return self.path(name).read_text().strip()

    def make(self, name: str, content: str) -> None:
        """Write a file that is missing."""
        _make(self.path(name), content)

    def derive(self, name: str, content: str | bytes) -> None:
        """Write a file that follows from others."""
        path = self.path(name)
        path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        replace_file(path, content, durable=True)

    def change(
        self, name: str, successor: Callable[[str], str | None], *, several: bool = False, at_once: bool = False
    ) -> None:
        """Write the file ``name`` as it is in this step of a rotation, if there is one.

        ``successor`` makes the new value from the old one, or None where it can't change. With ``several`` the file
        has a line for each value that is accepted. With ``at_once`` the new value is in use from the first step on.
        """
        if self.step is RotationStep.ACCEPT and not self._new(name).exists():
            old = self.text(name)
            new = successor(old)
            if new is None:
                return
            _make(self._old(name), old)
            _make(self._new(name), new)
        if self._changes(name):
            values = self.accepted(name, at_once=at_once)
            self.derive(name, "\n".join(values) if several else values[0])

    def accepted(self, name: str, *, at_once: bool = False) -> tuple[str, ...]:
        """Return the values of a secret that are accepted now; the first is in use."""
        if self.step is None or not self._changes(name):
            return (self.text(name),)
        step = RotationStep.USE if at_once and self.step is RotationStep.ACCEPT else self.step
        return arranged(step, self._old(name).read_text(), self._new(name).read_text())

    def keys(self, name: str, service: str, purpose: str) -> Keys:
        """Return the signing keys in the file ``name``, made where there are none; the first signs."""
        path = self.path(name)
        path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        return keys_in_step(path, self._new(name), service, purpose, step=self.step, mark="")

    def _changes(self, name: str) -> bool:
        return self._old(name).exists() and self._new(name).exists()

    def _old(self, name: str) -> Path:
        return self._rotation / "old" / name

    def _new(self, name: str) -> Path:
        return self._rotation / "new" / name

    def _read_record(self) -> Rotation | None:
        if not self._record.exists():
            return None
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Rotation)
        except msgspec.MsgspecError as error:
            raise WorkspaceError(
                f"{self._record} can't be read: {error}.",
                hint="It says how far a change of secrets has come; restore it.",
            ) from error


def _make(path: Path, content: str) -> None:
    if not path.exists():
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        replace_file(path, content, durable=True)
