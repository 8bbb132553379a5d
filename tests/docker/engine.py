"""A Docker engine of the tests' own: its data, its socket and its network rules are gone when it ends.

It never uses the machine's engine, since the stand-ins below carry the tags of official images.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandstand.testing import require_server
from tests.programs import ci_cache
from tests.waiting import GUARD

CACHE = ci_cache() / "docker"
BASE_IMAGE = CACHE / "base.tar"
_UNPACKED = CACHE / "unpacked" / "usr"
_PLUGINS = _UNPACKED / "libexec" / "docker" / "cli-plugins"
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOW = "To run these tests, as root on Debian: bash .ci/install-docker"
_AS_ROOT = "To run these tests: sudo make test-docker"


class Engine:
    """A private dockerd in ``folder``, and commands that speak to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = f"{_UNPACKED / 'bin'}:{_UNPACKED / 'sbin'}:{_SYSTEM}"
        self._before = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": self._path,
            "HOME": str(self._folder),
            "DOCKER_HOST": f"unix://{self._folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self._folder / "client"),
        }

    def start(self) -> None:
        """Start, or skip the test where that can't be done (or fail, where a skip is none)."""
        installed = (_UNPACKED / "sbin" / "dockerd").exists() and BASE_IMAGE.exists()
        require_server("docker", found=installed, how=_HOW)
        require_server("docker", found=os.geteuid() == 0, problem="starts only as root", how=_AS_ROOT)
        self._before = _run("iptables-save").stdout
        plugins = self._folder / "client" / "cli-plugins"
        plugins.mkdir(parents=True)
        for plugin in _PLUGINS.iterdir():
            (plugins / plugin.name).symlink_to(plugin)
        (self._folder / "daemon.json").write_text(json.dumps(self._configuration()))
        with (self._folder / "dockerd.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dockerd", "--config-file", self._folder / "daemon.json"],
                env={"PATH": self._path, "HOME": str(self._folder)},
                executable=_UNPACKED / "sbin" / "dockerd",
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        why = self._wait()
        if why:
            self.stop()
            print(why)
        last = why.strip().rpartition("\n")[2]
        require_server("docker", found=not why, problem="does not start here", how=f"Its log ends with: {last}")

    def _configuration(self) -> dict[str, Any]:
        return {
            "data-root": str(self._folder / "data"),
            "exec-root": str(self._folder / "exec"),
            "pidfile": str(self._folder / "docker.pid"),
            "hosts": [f"unix://{self._folder / 'docker.sock'}"],
            "storage-driver": "overlay2",
            # systemd, which is the default where it runs, takes only groups of its own.
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "bip": "172.31.250.1/24",
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20000, "Soft": 4096}},
        }

    def _wait(self) -> str:
        """Return why it does not run, or nothing once it does."""
        assert self._process is not None
        end = time.monotonic() + GUARD
        while self._process.poll() is None and time.monotonic() < end:
            if self.docker("version", check=False).returncode == 0:
                return ""
            time.sleep(0.2)
        return (self._folder / "dockerd.log").read_text()[-2000:] or "(dockerd wrote nothing)"

    def docker(self, *arguments: str | Path, check: bool = True, timeout: float = 300, **more: Any) -> Any:
        """Run `docker` with ``arguments``; a failure shows what it said."""
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            env=self.environment | more.pop("env", {}),
            executable=_UNPACKED / "bin" / "docker",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            **more,
        )
        assert not check or done.returncode == 0, f"docker {arguments}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done

    def spawn(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start `docker` with ``arguments``, to be spoken with."""
        return subprocess.Popen(
            ["docker", *map(str, arguments)],
            env=dict(self.environment),
            executable=_UNPACKED / "bin" / "docker",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """End it, and take back what it did to the machine's network."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(GUARD)
        for mounted in sorted(_mounts_below(self._folder), reverse=True):
            _run("umount", "--lazy", mounted)
        _run("ip", "link", "delete", "docker0")
        subprocess.run(["iptables-restore"], input=_rules(self._before), text=True, check=True, env={"PATH": _SYSTEM})
        shutil.rmtree(self._folder, ignore_errors=True)


def _rules(before: str) -> str:
    """What was saved; a table that was not there then is emptied, which a restore of the others would not do."""
    chains = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}
    empty = (
        "\n".join([f"*{table}", *(f":{chain} ACCEPT" for chain in names), "COMMIT"])
        for table, names in chains.items()
        if f"*{table}\n" not in before
    )
    return "\n".join([before, *empty, ""])


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _SYSTEM})
