"""Programs that some tests use and a machine may lack: on the PATH, or where `.ci/install-servers` puts them."""

import os
import shutil
from pathlib import Path

from bandstand.testing import require_server

__all__ = ["INSTALL_CURL", "INSTALL_SERVERS", "ci_cache", "find_program", "require_program"]

INSTALL_SERVERS = "To run these tests, as root on Debian: bash .ci/install-servers"
INSTALL_CURL = "To run these tests, on Debian: apt-get install curl"


def ci_cache() -> Path:
    """Return the folder into which the scripts in .ci/ unpack what Debian does not install."""
    return Path(os.environ.get("BANDSTAND_CI_CACHE") or Path.home() / ".cache" / "bandstand-ci")


def find_program(name: str) -> str | None:
    """Return the path of a program, None where there is none.

    Debian puts servers into /usr/sbin, which only root has on the PATH.
    """
    folders = (os.environ.get("PATH", os.defpath), "/usr/sbin", str(ci_cache()))
    return shutil.which(name, path=os.pathsep.join(folders))


def require_program(server: str, *names: str, how: str = INSTALL_SERVERS) -> str:
    """Return the path of the first program of ``names`` (by default the server's own) that is installed.

    Without one the test is skipped, or fails where ``BANDSTAND_TEST_REQUIRE`` holds ``server``.
    """
    found = next(filter(None, map(find_program, names or (server,))), None)
    require_server(server, found=found is not None, how=how)
    return str(found)
