"""A small platform of two real Django services, written into a folder, and the command line that runs it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import GUARD, until

BANDSTAND = Path(sys.executable).with_name("bandstand")

MANIFEST = """
[platform]
name = "tiny"

[gateway]
port = {port}
rate_limit = {{ minute = 100000, hour = 100000 }}

[services.user-service]
issues_user_tokens = true
seed = ["plant"]

[[services.user-service.routes]]
path = "/api/v1/users"

[services.order-service]
calls = ["user-service"]
worker = false
threads = 2

[[services.order-service.routes]]
path = "/api/v1/orders"
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{module}.settings")
execute_from_command_line(sys.argv)
"""

SETTINGS = """
from bandstand.conf import ServiceEnvironment
environment = ServiceEnvironment.read("{service}")
SECRET_KEY = environment.secret_key
DEBUG = environment.debug
ALLOWED_HOSTS = list(environment.allowed_hosts)
DATABASES = {{"default": environment.database}}
LOGGING = environment.logging
BANDSTAND = environment.bandstand()
INSTALLED_APPS = ["django.contrib.contenttypes", "bandstand", "{app}"]
MIDDLEWARE = ["bandstand.context.RequestTrackingMiddleware", "bandstand.identity.ServiceAuthMiddleware"]
ROOT_URLCONF = "{module}.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

URLS = """
import os, time
from pathlib import Path
from django.http import JsonResponse
from django.urls import include, path
from {app}.models import Thing

def things(request):
    if "gate" in request.GET:  # wait until the test makes this file
        gate = Path(request.GET["gate"])
        gate.with_suffix(".waiting").touch()
        while not gate.exists():
            time.sleep(0.02)
    return JsonResponse({{"service": "{service}", "pid": os.getpid(), "things": Thing.objects.count()}})

urlpatterns = [
    path("api/v1/{app}/", things),
    path("api/v1/more/", things),
    path("", include("bandstand.health.urls")),
]
"""

WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{module}.settings")
application = get_wsgi_application()
"""

MODELS = """
from django.db import models

class Thing(models.Model):
    name = models.CharField(max_length=20)
"""

MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Thing", [
            ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False, verbose_name="ID")),
            ("name", models.CharField(max_length=20)),
        ]),
    ]
"""

PLANT = """
from django.core.management.base import BaseCommand
from {app}.models import Thing

class Command(BaseCommand):
    def handle(self, **options):
        Thing.objects.create(name="first")
"""

# A worker as the runner sees one: it says that it is ready by a file, works until SIGTERM, and takes the file away.
WORKER = """
import os, signal, threading
from pathlib import Path
from django.core.management.base import BaseCommand
from django.db import connection

class Command(BaseCommand):
    def handle(self, **options):
        connection.ensure_connection()
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ready = Path(os.environ["BANDSTAND_READY_FILE"])
        ready.touch()
        ended.wait()
        ready.unlink(missing_ok=True)
"""


def write(root: Path, *, port: int) -> None:
    """Write the platform into ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "bandstand.toml").write_text(MANIFEST.format(port=port))
    for service, app in (("user-service", "users"), ("order-service", "orders")):
        _write_service(root / service, service, app)


def _write_service(folder: Path, service: str, app: str) -> None:
    module = service.replace("-", "_")
    names = {"service": service, "module": module, "app": app}
    commands = f"{app}/management/commands"
    files = {
        "manage.py": MANAGE,
        f"{module}/__init__.py": "",
        f"{module}/settings.py": SETTINGS,
        f"{module}/urls.py": URLS,
        f"{module}/wsgi.py": WSGI,
        f"{app}/__init__.py": "",
        f"{app}/models.py": MODELS,
        f"{app}/migrations/__init__.py": "",
        f"{app}/migrations/0001_initial.py": MIGRATION,
        f"{app}/management/__init__.py": "",
        f"{commands}/__init__.py": "",
        f"{commands}/plant.py": PLANT,
        f"{commands}/worker.py": WORKER,
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.format(**names) if "{" in content else content)


class Platform:
    """The command line on one workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shell: dict[str, str] = {}  # more variables of the shell
        self.before: tuple[str, ...] = ()  # what starts the command

    def run(self, *arguments: str, timeout: float = 2 * GUARD) -> subprocess.CompletedProcess[str]:
        """Run ``bandstand`` with ``arguments`` and return how it ended.

        ``timeout`` only bounds a test that hangs: the runner itself gives a server up to 120 s to start.
        """
        return subprocess.run(
            [*self.before, BANDSTAND, *arguments],
            cwd=self.root,
            env={**os.environ, **self.shell},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command that must end well, and return the one JSON object that it prints."""
        ended = self.run(*arguments, "--json")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    def up(self) -> Any:
        """Start in the background."""
        return self.json("up", "--detach")

    def foreground(self) -> subprocess.Popen[str]:
        """Start in the foreground; the caller reads and ends it."""
        return subprocess.Popen(
            [BANDSTAND, "up"],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    @property
    def state(self) -> Any:
        return json.loads((self.root / ".bandstand" / "state.json").read_text())

    def process(self, name: str) -> Any:
        """What the runner wrote of one process, which is what `ps` shows; the command costs a second."""
        return next(row for row in self.state["processes"] if row["name"] == name)

    def pid(self, name: str) -> int:
        """The process id of one process, as the runner wrote it."""
        found: int = self.process(name)["pid"]
        return found

    def tasks(self) -> set[str]:
        """How the services' migrations and seeds went."""
        return {row["state"] for row in self.state["processes"] if row["kind"] == "task" and row["service"]}

    def ports(self) -> set[int]:
        """Every port that the platform was given."""
        return set(self.state["ports"].values())

    def left(self) -> list[psutil.Process]:
        """Every living process that works in the folder or was started with a path in it."""
        return [process for process in psutil.process_iter() if _belongs(process, str(self.root))]

    def listening(self) -> set[int]:
        """The ports of the platform that still have a listener; another program may have taken one that was freed."""
        return {port for port in self.ports() if _listens(port) and not self._is_strangers(port)}

    def _is_strangers(self, port: int) -> bool:
        """True where the owner is known and has nothing to do with the platform."""
        try:
            found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
            owners = [psutil.Process(each.pid) for each in found if each.laddr.port == port and each.pid]
            return bool(owners) and not any(_has_path(owner, str(self.root)) for owner in owners)
        except psutil.Error:
            return False


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _belongs(process: psutil.Process, root: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return False
        return _has_path(process, root)
    except psutil.Error:
        return False


def _has_path(process: psutil.Process, root: str) -> bool:
    return process.cwd().startswith(root) or any(root in word for word in process.cmdline())


def eventually(condition: Callable[[], Any]) -> Any:
    """Return what ``condition`` returns once that is true; an answer that is refused or cut off is not there yet."""

    def asked() -> Any:
        try:
            return condition()
        except (OSError, HTTPException):
            return None

    return until(asked, "what the last line of the test names")
