"""The processes that serve one address: workers of one server, or an old server and the new one that takes over.

Locks of the kernel (``flock``) on two files say who belongs to it: they go with the process that holds them, whatever
ends it, so nothing is left to clean up.
"""

import fcntl
import logging
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["Crew", "lock_folder"]

_PAUSES: Final = (0.005, 0.01, 0.02)  # seconds

logger: Final = logging.getLogger(__name__)


class Crew:
    """Join the processes of this machine that serve the address ``key``: one of them leads, and the last one knows it.

    Who joins while the last one is leaving waits until that one is gone, so that its farewell hits no newcomer.
    Where no file can be written each process takes itself for the only one, which costs the registry more requests.
    """

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self._process = os.getpid()
        self._files: tuple[int, int] | None = None
        try:
            place = folder or lock_folder()
            self._files = _open(place / f"{key}.crew"), _open(place / f"{key}.lead")
            fcntl.flock(self._files[0], fcntl.LOCK_SH)
        except OSError as error:
            logger.warning("No lock for %s can be had, so each worker registers by itself: %s", key, error)

    def leads(self) -> bool:
        """Say whether this process speaks for all; who does stays so until it leaves."""
        if self._files is None:
            return True
        for file in self._files:
            os.utime(file)  # whoever clears old files away leaves these alone
        return _try_to_lock(self._files[1])

    def leave(self) -> bool:
        """Leave, and say whether nobody else is left. To be called once."""
        if self._files is None:
            return True
        fcntl.flock(self._files[1], fcntl.LOCK_UN)
        # An exclusive lock takes the place of the shared one; if others hold theirs, the own one is gone all the same.
        for pause in (0.0, *_PAUSES):  # one that has left before may hold it for the moment in which it looks
            time.sleep(pause)
            if _try_to_lock(self._files[0]):
                return True
        return False

    def others_stay(self) -> bool:
        """Return whether processes that have not left serve the address; for one that has left it."""
        files = self._files
        if files is None:
            return False
        try:
            # Those who stay share it. The last one that leaves has it for itself, and so would we, were nobody there.
            alone = _try_to_lock(files[0])
            shared = not alone and _try_to_lock(files[0], fcntl.LOCK_SH)
            fcntl.flock(files[0], fcntl.LOCK_UN)
        except OSError:  # another thread has just closed them, since the process ends
            return False
        return shared

    def close(self) -> None:
        """Let go of the files. In a forked child that takes nothing from the parent."""
        files, self._files = self._files, None
        for file in files or ():
            os.close(file)


def lock_folder() -> Path:
    """Return a folder that only this user can write into.

    Raises:
        OSError: there is none; the text says why.
    """
    folder = Path(tempfile.gettempdir()) / f"bandstand-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write into")
    return folder


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try_to_lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
