"""The shop of this repository as it is deployed: rendered, built, and started by Docker Compose."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bandstand.workspace import versions
from bandstand.workspace.manifest import Workspace, load
from bandstand.workspace.runtime import find_envoy, find_postgres, find_valkey
from tests.docker.engine import BASE_IMAGE, Engine
from tests.platform.conftest import Client, Person, SignIn, eventually
from tests.ports import held_port
from tests.programs import require_program
from tests.waiting import GUARD

ROOT = Path(__file__).parents[2]
BANDSTAND = Path(sys.executable).with_name("bandstand")
HOST = "shop.example"
_HOLD = """
import sys, time, psycopg
connection = psycopg.connect(open("/run/secrets/DATABASE_URL").read())
connection.execute("LOCK TABLE users_userprofile IN SHARE MODE")
waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'users_userprofile'::regclass AND NOT granted"
while connection.execute(waiting).fetchone()[0] < {number}:
    time.sleep(0.05)
print("held", flush=True)
sys.stdin.read()
"""


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

    def complaints(self) -> str:
        """The warnings and errors that services wrote, in the order of their time."""
        lines = self.compose("logs", "--no-color", "--no-log-prefix", *self.workspace.service_names).splitlines()
        return "\n".join(sorted(line for line in lines if '"level":"WARNING"' in line or '"level":"ERROR"' in line))

    def person(self, name: str) -> Person:
        email, password = f"{name}@example.com", "correct-horse-battery"
        user = self.client.post("/api/users/", {"email": email, "username": name, "password": password})
        assert user.status == 201, user
        sign_in = SignIn(client=self.client, email=email, password=password)
        sign_in.token()
        return Person(id=user.body["id"], email=email, client=Visitor(base=self.client.base, sign_in=sign_in))

    def ask(self, name: str, url: str, **headers: str) -> str:
        """Return what a container answers to this machine, to which its network is open: it costs the others little."""
        [container] = self.containers(name)
        network = '{{(index .NetworkSettings.Networks "shop_services").IPAddress}}'
        address = self.engine.docker("inspect", "--format", network, container).stdout.strip()
        request = urllib.request.Request(f"http://{address}{url}", headers=headers)
        with urllib.request.urlopen(request, timeout=GUARD) as response:
            return str(response.read().decode())

    def ready_instances(self) -> dict[str, int]:
        """How many instances of each service the gateway sends requests to, in its own words."""
        prefix = 'envoy_cluster_membership_healthy{envoy_cluster_name="'
        shown = self.ask("gateway", ":9902/stats/prometheus").splitlines()
        found = [line.removeprefix(prefix) for line in shown if line.startswith(prefix)]
        return {line.partition('"')[0]: int(line.split()[-1]) for line in found}

    def registered_instances(self, service: str) -> int:
        """How many instances of a service Consul tells the others of."""
        token = (self.folder / "secrets" / "consul" / "administrator").read_text()
        url = f":8500/v1/health/service/{service}?passing"
        return len(json.loads(self.ask("consul", url, Authorization=f"Bearer {token}")))

    def wait_for_all(self) -> None:
        """Wait until gateway and registry know of every instance of every service that it is ready."""
        names, replicas = self.workspace.service_names, self.workspace.production.replicas
        expected = dict.fromkeys(names, replicas)
        eventually(
            lambda: self.ready_instances().items() >= expected.items(),
            what="the gateway knows every instance",
            pause=1.0,
        )
        eventually(
            lambda: {name: self.registered_instances(name) for name in names} == expected,
            what="the registry knows every instance",
            pause=1.0,
        )

    def restart(self, container: str, *, seconds: int) -> None:
        """Restart one container, which gets so many seconds to end by itself, and wait until it is back everywhere."""
        self.engine.docker("restart", "--time", str(seconds), container, timeout=300)
        health = ("inspect", "--format", "{{.State.Health.Status}}", container)
        eventually(
            lambda: self.engine.docker(*health).stdout.strip() == "healthy",
            what="the container is healthy",
            pause=1.0,
        )
        self.wait_for_all()

    @contextmanager
    def writes_held(self, number: int) -> Iterator[None]:
        """Hold so many writes of profiles in flight when the block begins; they go on two seconds later."""
        holder = self.engine.spawn(
            *("compose", "--file", self.folder / "compose.yaml", "exec", "-T", "user-service-worker", "python", "-c"),
            _HOLD.format(number=number),
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        release = threading.Timer(2.0, holder.stdin.close)
        release.start()
        try:
            yield
        finally:
            release.join()
            assert holder.wait(GUARD) == 0
            holder.stdout.close()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine with the images of the services, built as the documentation says, and stand-ins for the others."""
    engine.docker("import", BASE_IMAGE, versions.PYTHON.image)
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
    _copy_postgres(context / "postgresql")
    shutil.copy(find_valkey(), context / "valkey-server")
    shutil.copy(find_envoy(), context / "envoy")
    shutil.copy(require_program("consul"), context / "consul")
    for target, image in {
        "postgres": versions.POSTGRES.image,
        "valkey": versions.VALKEY.image,
        "rabbitmq": versions.RABBITMQ.image,
        "envoy": versions.ENVOY.image,
        "consul": versions.CONSUL.image,
    }.items():
        engine.docker(
            *(
                "build",
                "--quiet",
                "--build-arg",
                f"BASE={versions.PYTHON.image}",
                "--target",
                target,
                "--tag",
                image,
                context,
            ),
            timeout=600,
        )


def _copy_postgres(target: Path) -> None:
    """Copy the wheel's programs and the libraries beside them, which they find by a relative path."""
    install = find_postgres().parent
    shutil.copytree(install, target / "programs" / "install", symlinks=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)


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
        subprocess.run([BANDSTAND, "-C", shop, *command], check=True, capture_output=True, timeout=GUARD)
    deployment = Deployment(
        engine=images, folder=folder / "compose", workspace=load(shop / "bandstand.toml"), port=held_port()
    )
    try:
        deployment.compose("up", "--detach", "--wait", "--wait-timeout", "400", timeout=420)
        yield deployment
    finally:
        deployment.compose("down", "--volumes", "--timeout", "2", check=False)


def well_stocked(deployment: Deployment) -> dict[str, object]:
    page = deployment.client.get("/api/products/?ordering=-inventory_count")
    assert page.status == 200, page
    found: dict[str, object] = max(page.body["results"], key=lambda product: product["inventory_count"])
    return found


@pytest.fixture(scope="session")
def ada(deployment: Deployment) -> Person:
    deployment.compose("exec", "-T", "product-service", "python", "manage.py", "seed_demo")
    return deployment.person("ada")


@pytest.fixture(scope="session")
def people(deployment: Deployment, ada: Person) -> list[Person]:
    """Several, since nobody may ask as often as all of them do."""
    return [ada, deployment.person("grace"), deployment.person("hedy")]
