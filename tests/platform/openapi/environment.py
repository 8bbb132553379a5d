"""openapi-python-client and Schemathesis, in an environment of their own below the user's cache.

They bring versions of packages that the project does not choose, so they are kept out of its own environment. Theirs is
made from ``requirements.txt`` at the first run, for which pip must reach a package index.
"""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "run_program"]

FOLDER: Final = Path(__file__).parent
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bandstand-tests"
_LIMIT: Final = 900.0  # seconds after which a program is ended, so that a test ends; it judges nothing


def run_program(name: str, *arguments: object, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in ``folder``, with ``variables`` added to the environment variables."""
    return _run(_environment() / "bin" / name, *arguments, folder=folder, variables=variables)


def _environment() -> Path:
    """Return the folder of the environment, made unless it is there."""
    requirements = FOLDER / "requirements.txt"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    path = _CACHE / f"openapi-{version}-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if not (path / "installed").exists():
        venv.create(path, with_pip=True, clear=True)
        pip = _run(
            path / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", "-r", requirements, folder=FOLDER
        )
        assert pip.returncode == 0, pip.stderr
        (path / "installed").touch()
    return path


def _run(
    program: Path, *arguments: object, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    path = f"{program.parent}{os.pathsep}{own.get('PATH', os.defpath)}"  # the generator formats what it makes by ruff
    return subprocess.run(
        [program, *map(str, arguments)], cwd=folder, env={**own, "PATH": path, **(variables or {})},
        capture_output=True, text=True, timeout=_LIMIT, check=False,
    )  # fmt: skip
