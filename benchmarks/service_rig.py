"""The catalogue of the shop served in three ways on one PostgreSQL: by Bandstand, by plain Django, and with packages.

Bandstand's is the shop's product service under `bandstand up`, beside the user service that signs people in; plain
Django's is ``plain_service``. All three have the same models, filters and products, DEBUG as `bandstand up` sets it,
and the same web server with the same options. The packages are installed into a folder below the user's cache, made
from ``peers/usual_packages.txt`` at the first run, and everything else comes from the project's own environment, so
that all three run the same versions of Django and REST framework.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil
import pycurl

from platform_rig import Caller, Platform, replaced
from report import Report
from tests.integration.servers import Postgres, tied
from tests.platform.conftest import copy_shop, running
from tests.ports import give_back, held_port

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bandstand-benchmarks"
PATIENCE = 60.0
LIST = "/api/v1/products/"

BANDSTAND, PLAIN, PACKAGES = "bandstand", "plain", "packages"
NAMES = {BANDSTAND: "Bandstand", PLAIN: "plain Django", PACKAGES: "the packages"}

MANIFEST = """
[platform]
name = "catalogue"
[gateway]
port = {port}
rate_limit = {{ minute = 1000000, hour = 10000000 }}
[servers]
postgres = "{postgres}"
redis = "embedded"
nats = "embedded"
[services.user-service]
issues_user_tokens = true
seed = ["seed_demo"]
routes = [{{ path = "/api/v1/users" }}]
[services.product-service]
seed = ["seed_demo"]
routes = [{{ path = "{path}" }}]
"""


@dataclass(frozen=True, kw_only=True)
class Service:
    """How one of the three is started: ``options`` are granian's, ``authorization`` is that of staff."""

    folder: Path
    module: str
    environment: Mapping[str, str]
    options: tuple[str, ...]
    authorization: str

    @contextmanager
    def running(self) -> Iterator[tuple[str, int]]:
        """Run its web server; give the URL and the process's id once it answers."""
        port = held_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "granian", f"{self.module}.wsgi:application", *self.options]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                tied(command), cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                wait_for_answer(url, process)
                yield url, process.pid
            finally:
                process.terminate()
                process.wait(PATIENCE)
                give_back(port)

    def manage(self, *arguments: str) -> str:
        """Run a command of Django's and return what it printed."""
        return self.python("-m", "django", *arguments)

    def python(self, *arguments: str) -> str:
        """Run Python as this service and return what it printed."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{command} failed:\n{done.stderr[-2000:]}")
        return done.stdout


def wait_for_answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return at the first answer 200 to a request for the list."""
    deadline = time.monotonic() + PATIENCE
    caller = Caller(url)
    while True:
        try:
            caller.get(LIST)
            break
        except pycurl.error as error:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{process.args!r} does not answer: {error}")
        time.sleep(0.01)
    caller.close()


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The services by name, and Bandstand's as it runs already with its gateway."""

    services: Mapping[str, Service]
    url: str
    pid: int
    gateway: str
    gateway_pid: int


@contextmanager
def catalogue(report: Report) -> Iterator[Catalogue]:
    """Start the servers and Bandstand's service, and prepare the databases of the others."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandstand-bench-")))
        postgres = Postgres()
        stack.callback(postgres.close)
        postgres.start()
        shop = stack.enter_context(running(write_workspace(folder, postgres)))
        platform = Platform(shop.folder)
        pid = platform.pids["product-service-web"]
        ours = Service(
            folder=shop.folder / "product-service",
            module="product_service",
            environment=psutil.Process(pid).environ(),
            options=options_of(pid),
            authorization=sign_in(shop.gateway),
        )
        services = {BANDSTAND: ours, PLAIN: plain(postgres, PLAIN, ours.options)}
        packages = install_packages(report)
        if packages is not None:
            services[PACKAGES] = plain(postgres, PACKAGES, ours.options, packages)
        yield Catalogue(
            services=services,
            url=shop.services["product-service"],
            pid=pid,
            gateway=shop.gateway,
            gateway_pid=platform.pids["gateway"],
        )


def write_workspace(folder: Path, postgres: Postgres) -> Path:
    """Copy the shop and reduce it to the two services, with limits on clients that no load reaches."""
    copy = copy_shop(folder)
    port = next(line for line in (copy / "bandstand.toml").read_text().splitlines() if line.startswith("port = "))
    manifest = MANIFEST.format(port=port.removeprefix("port = "), postgres=postgres.url(), path=LIST.rstrip("/"))
    (copy / "bandstand.toml").write_text(manifest)
    rates = '{"client": "1000000/s", "login": "10/15min", "login-address": "100/15min"}'
    replaced(
        copy / "product-service" / "product_service" / "settings.py",
        ("rest_framework_settings()", f"rest_framework_settings(DEFAULT_THROTTLE_RATES={rates})"),
    )
    # One sign-in lasts for the whole benchmark.
    replaced(
        copy / "user-service" / "user_service" / "settings.py",
        ("bandstand(version=VERSION)", 'bandstand(version=VERSION, identity={"USER_TOKEN_LIFETIME": 7200})'),
    )
    return copy


def options_of(pid: int) -> tuple[str, ...]:
    """Return the options that `bandstand up` gave to granian, but for host and port."""
    command = psutil.Process(pid).cmdline()
    options = command[command.index("granian") + 2 :]
    return tuple(
        word for before, word in zip(["", *options], options, strict=False) if not {before, word} & {"--host", "--port"}
    )


def sign_in(gateway: str) -> str:
    """Return the Authorization header of a member of the demonstration's staff."""
    who = {"email": "admin@example.com", "password": "bandstand-demo"}
    caller = Caller(gateway)
    answer = caller.post("/api/v1/users/authenticate/", who, wanted=200)
    caller.close()
    return f"Bearer {answer['token']}"


def plain(postgres: Postgres, name: str, options: tuple[str, ...], packages: Path | None = None) -> Service:
    """Fill a database for plain Django and return how it is started."""
    postgres.execute(f"CREATE DATABASE {name}_catalogue")
    path = [HERE, HERE.parent / "shop" / "product-service", *([packages] if packages else [])]
    kept = {each: value for each, value in os.environ.items() if not each.startswith(("DJANGO_", "PYTHON"))}
    environment = {
        **kept,
        "DATABASE_URL": postgres.url(f"{name}_catalogue"),
        "DJANGO_SETTINGS_MODULE": "plain_service.settings",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONUNBUFFERED": "1",
        **({"BENCH_PACKAGES": "1"} if packages else {}),
    }
    made = Service(folder=HERE, module="plain_service", environment=environment, options=options, authorization="")
    authorization = made.python("-m", "plain_service.prepare").splitlines()[-1]
    return Service(
        folder=HERE, module="plain_service", environment=environment, options=options, authorization=authorization
    )


def install_packages(report: Report) -> Path | None:
    """Return the folder that holds the usual packages, or None, which is reported, where they can't be had."""
    requirements = HERE / "peers" / "usual_packages.txt"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = CACHE / f"usual_packages-{version}-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if (folder / "installed").exists():
        return folder
    if report.quick:
        report.leave_out("the usual packages: a run without --quick installs them")
        return None
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, "-r", requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        report.leave_out(f"the usual packages do not install: {last}")
        return None
    (folder / "installed").touch()
    return folder
