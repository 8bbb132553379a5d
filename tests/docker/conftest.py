"""The shop of this repository as it is deployed: rendered, built, and started by Docker Compose."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bandstand.testing import require_server
from bandstand.workspace.export import versions
from bandstand.workspace.manifest import Workspace, load
from bandstand.workspace.runtime import find_envoy, free_port
from tests.docker.engine import BASE_IMAGE, Engine
from tests.platform.conftest import Client, Person, eventually

ROOT = Path(__file__).parents[2]
BANDSTAND = Path(sys.executable).with_name("bandstand")
HOST = "shop.example"


@dataclass(frozen=True, kw_only=True)
class Visitor(Client):
    """A client that asks for the shop by its name, as one does behind a server with a certificate."""

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        return super().request(method, path, body, Host=HOST, **headers)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A shop that runs in containers."""

    engine: Engine
    folder: Path
    workspace: Workspace
    port: int

    @property
    def client(self) -> Visitor:
        return Visitor(base=f"http://127.0.0.1:{self.port}")

    def compose(self, *arguments: str, timeout: float = 240, check: bool = True) -> str:
        done = self.engine.docker(
            *("compose", "--file", self.folder / "compose.yaml", *arguments),
            env={"GATEWAY_PORT": str(self.port)},
            timeout=timeout,
            check=check,
        )
        return str(done.stdout)

    def containers(self, name: str) -> list[str]:
        return self.compose("ps", "--quiet", name).split()

    def person(self, name: str) -> Person:
        email, password = f"{name}@example.com", "correct-horse-battery"
        user = self.client.post("/api/users/", {"email": email, "username": name, "password": password})
        assert user.status == 201, user
        signed_in = self.client.post("/api/users/authenticate/", {"email": email, "password": password})
        assert signed_in.status == 200, signed_in
        client = Visitor(base=self.client.base, token=signed_in.body["token"])
        return Person(id=user.body["id"], email=email, client=client)

    def ready_instances(self) -> dict[str, int]:
        """How many instances of each service the gateway sends requests to, in its own words."""
        program = (
            "exec 3<>/dev/tcp/127.0.0.1/9902;"
            " printf 'GET /stats/prometheus HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3"
        )
        shown = self.compose("exec", "-T", "gateway", "bash", "-c", program)
        prefix = 'envoy_cluster_membership_healthy{envoy_cluster_name="'
        found = [line.removeprefix(prefix) for line in shown.splitlines() if line.startswith(prefix)]
        return {line.partition('"')[0]: int(line.split()[-1]) for line in found}

    def wait_for_all(self) -> None:
        """Wait until the gateway sends requests to every instance of every service."""
        names, replicas = self.workspace.service_names, self.workspace.production.replicas
        eventually(
            lambda: all(self.ready_instances().get(name) == replicas for name in names),
            seconds=180,
            what="the gateway knows every instance",
        )


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine with the images of the services, built as the documentation says, and stand-ins for the others."""
    engine.docker("import", BASE_IMAGE, versions.PYTHON)
    _build_standins(engine, tmp_path_factory.mktemp("standins"))
    workspace = load(ROOT / "shop" / "bandstand.toml")
    for name in workspace.service_names:
        engine.docker(
            *("build", "--quiet", "--file", ROOT / "deploy" / "dockerfile" / "Dockerfile"),
            *("--build-arg", f"SERVICE={name}", "--tag", workspace.production.image.name(name), ROOT),
            timeout=600,
        )
    return engine


def _build_standins(engine: Engine, context: Path) -> None:
    shutil.copytree(Path(__file__).with_name("standins"), context, dirs_exist_ok=True)
    shutil.copy(find_envoy(), context / "envoy")
    consul = shutil.which("consul")
    require_server("consul", found=consul is not None, how="As root on Debian: bash .ci/install-servers")
    shutil.copy(str(consul), context / "consul")
    for target, image in {
        "postgres": versions.POSTGRES,
        "valkey": versions.VALKEY,
        "rabbitmq": versions.RABBITMQ,
        "envoy": versions.ENVOY,
        "consul": versions.CONSUL,
    }.items():
        engine.docker(
            *(
                "build",
                "--quiet",
                "--build-arg",
                f"BASE={versions.PYTHON}",
                "--target",
                target,
                "--tag",
                image,
                context,
            ),
            timeout=600,
        )


@pytest.fixture(scope="session")
def deployment(images: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The shop, rendered from its manifest with limits that a test can't reach, up and ready."""
    folder = tmp_path_factory.mktemp("deploy")
    shop = folder / "shop"
    shutil.copytree(ROOT / "shop", shop, ignore=shutil.ignore_patterns(".bandstand", "__pycache__", ".pytest_cache"))
    manifest = (shop / "bandstand.toml").read_text()
    limits = "rate_limit = { minute = 100, hour = 1000 }"
    assert limits in manifest
    manifest = manifest.replace(limits, "rate_limit = { minute = 1000000, hour = 1000000 }")
    (shop / "bandstand.toml").write_text(manifest)
    for command in (
        ["export", "compose", "--gateway", "envoy", "--out", folder / "compose"],
        ["secrets", "--out", folder / "compose" / "secrets"],
    ):
        subprocess.run([BANDSTAND, "-C", shop, *command], check=True, capture_output=True, timeout=60)
    deployment = Deployment(
        engine=images, folder=folder / "compose", workspace=load(shop / "bandstand.toml"), port=free_port()
    )
    try:
        deployment.compose("up", "--detach", "--wait", "--wait-timeout", "400", timeout=420)
        yield deployment
    finally:
        deployment.compose("down", "--volumes", "--timeout", "2", check=False)
