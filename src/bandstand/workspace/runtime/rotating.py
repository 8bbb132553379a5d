"""Changes all passwords and keys of a platform that runs, in the steps of ``rotation.py``, without a failed request."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from bandstand.exceptions import NotRunning, WorkspaceError
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.rotation import RotationStep
from bandstand.workspace.runtime import keys
from bandstand.workspace.runtime.credentials import load_credentials, save_credentials
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.operations import change_passwords, restart_services
from bandstand.workspace.runtime.state import running

__all__ = ["Rotated", "rotate_running"]

_LOOK: Final = 1.0  # seconds after which every process has looked at its key files again
_TELL: Final = 60.0


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """The services and servers with new secrets. Passwords of ``external`` servers stand in the manifest."""

    services: tuple[str, ...]
    servers: tuple[str, ...]
    external: tuple[str, ...]


def rotate_running(workspace: Workspace, report: Callable[[str], None], *, token_lifetime: float) -> Rotated:
    """Replace every password and key of the platform that runs; one that was interrupted goes on where it was.

    ``report`` is told each step. ``token_lifetime`` is how long a user token is valid, in seconds: so long the key that
    it may be signed with stays published.

    Raises:
        NotRunning: nothing runs.
        WorkspaceError: a server or a service did not take what is new. What is old is accepted still.
    """
    folder = StateFolder(workspace.state_folder)
    if running(folder) is None:
        raise NotRunning(
            "The platform is not running, and its servers have to be told of new passwords.",
            hint="Start it with `bandstand up`. For the files of a rendered platform: `bandstand secrets rotate --step "
            "accept`.",
        )
    with _alone(folder):
        _Rotating(workspace, folder, report).run(token_lifetime)
    external = tuple(server.kind for server in workspace.servers if server.is_external and server.kind != "postgres")
    return Rotated(
        services=workspace.service_names,
        servers=tuple(server.kind for server in workspace.servers if server.kind not in external),
        external=external,
    )


@contextmanager
def _alone(folder: StateFolder) -> Iterator[None]:
    """Hold the lock of commands that change secrets.

    Raises:
        WorkspaceError: another command holds it.
    """
    with folder.rotation_turn.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(
                "Another command changes the secrets of this platform just now.", hint="Wait until it has ended."
            ) from error
        yield


class _Rotating:
    """A change under way. Keys go before passwords, since the latter tell how far it has come."""

    def __init__(self, workspace: Workspace, folder: StateFolder, report: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._folder = folder
        self._report = report

    def run(self, token_lifetime: float) -> None:
        earlier = load_credentials(self._folder.credentials, self._workspace.service_names).rotation
        if earlier is not None:
            self._report(f"The change of secrets that began at {earlier.begun} goes on.")
        if earlier is None or earlier.step is not RotationStep.USE:
            self._enter(RotationStep.ACCEPT, "Servers and services accept new passwords and keys besides the old ones.")
            self._restart_all()
        self._enter(RotationStep.USE, "Services go over to the new ones.")
        since = time.monotonic()
        self._restart_all()
        if self._workspace.token_issuer is not None:
            self._wait(since + token_lifetime)
        self._enter(RotationStep.RETIRE, "The old ones are not accepted any more.")

    def _enter(self, step: RotationStep, text: str) -> None:
        self._report(text)
        names, issuer = self._workspace.service_names, self._workspace.token_issuer
        if step is RotationStep.ACCEPT:  # first of all, so that a start finds what step it is
            self._save(step)
        keys.make_keys(self._folder.keys, names, [issuer.name] if issuer else [], step=step)
        if step is not RotationStep.ACCEPT:
            self._save(step)
        change_passwords(self._folder)
        time.sleep(_LOOK)

    def _restart_all(self) -> None:
        for name in self._workspace.service_names:
            restart_services(self._folder, [name])
            self._report(f"{name} has new processes.")

    def _wait(self, until: float) -> None:
        """Wait until the clock shows ``until``, and say so now and then."""
        while (left := until - time.monotonic()) > 0:
            self._report(f"User tokens that the old key signed are valid for {left:.0f} s more; Ctrl-C does no harm.")
            time.sleep(min(left, _TELL))

    def _save(self, step: RotationStep) -> None:
        credentials = load_credentials(self._folder.credentials, self._workspace.service_names)
        if step is RotationStep.RETIRE or credentials.rotation is None or credentials.rotation.step is not step:
            save_credentials(self._folder.credentials, credentials.rotated(step))
