"""What Compose, Kubernetes, gateways and images agree on: names, ports, users, commands, how long leaving takes.

A service's web process answers at ``http://NAME:8000`` everywhere: NAME is a service of Compose, and a Service of
Kubernetes.
"""

from typing import Final

from bandstand.workspace.manifest import Service, Workspace

__all__ = [
    "DRAIN_SECONDS",
    "ENVOY_ADMIN_PORT",
    "ENVOY_STATUS_PORT",
    "GATEWAY_PORT",
    "KONG_STATUS_PORT",
    "READY_PATH",
    "SECRETS_FOLDER",
    "USER_ID",
    "WEB_PORT",
    "WORKER_PORT",
    "kill_seconds",
    "migrate_command",
    "probe_command",
    "stop_seconds",
    "web_command",
    "worker_command",
    "worker_stop_seconds",
]

WEB_PORT: Final = 8000
WORKER_PORT: Final = 9100
GATEWAY_PORT: Final = 8000
# Of Envoy: its own pages, on the loopback interface of its container; readiness and metrics, for the network.
ENVOY_ADMIN_PORT: Final = 9901
ENVOY_STATUS_PORT: Final = 9902
# Of Kong: its health and metrics, for the network.
KONG_STATUS_PORT: Final = 8100

# Where a process says whether it may get requests.
READY_PATH: Final = "/health/ready/"

# Without a name, since Kubernetes can only tell from a number that it is not root.
USER_ID: Final = 10001

# Where the files with secrets are, in every container.
SECRETS_FOLDER: Final = "/run/secrets"

# From SIGTERM until the listener closes: every gateway has seen by then that readiness says no.
DRAIN_SECONDS: Final = 5

# What handlers in flight have; settings.events.shutdown_timeout is 25 s.
_HANDLERS_SECONDS: Final = 25
_SLACK_SECONDS: Final = 5


def kill_seconds(workspace: Workspace) -> int:
    """Return how long granian waits for its worker process: the drain, and then the longest request."""
    return DRAIN_SECONDS + int(workspace.gateway.timeout) + _SLACK_SECONDS


def stop_seconds(workspace: Workspace) -> int:
    """Return how long a web process may take from SIGTERM to its end before it is killed."""
    return kill_seconds(workspace) + _SLACK_SECONDS


def worker_stop_seconds() -> int:
    """Return the same of a worker."""
    return _HANDLERS_SECONDS + _SLACK_SECONDS


def web_command(workspace: Workspace, service: Service) -> list[str]:
    """Return the command of a web process. One process for each container: the platform starts more containers."""
    return [
        *("granian", service.wsgi, "--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--host", "0.0.0.0", "--port", str(WEB_PORT), "--workers", "1"),  # noqa: S104 - in a container of its own
        *("--blocking-threads", str(service.threads), "--workers-kill-timeout", str(kill_seconds(workspace))),
        # Its warnings are about a number of threads that the manifest chose.
        *("--log-level", "error"),
    ]


def worker_command() -> list[str]:
    """Return the command of a worker."""
    return ["python", "manage.py", "worker"]


def migrate_command() -> list[str]:
    """Return the command of the job that migrates, which runs before the new release and never in its start."""
    return ["python", "manage.py", "migrate", "--no-input"]


def topology_command(workspace: Workspace) -> list[str]:
    """Return the command of the job that declares at the broker what the services share."""
    return ["python", "-m", "bandstand.topology", workspace.name, *workspace.service_names]


def probe_command(port: int, path: str = READY_PATH) -> list[str]:
    """Return a command that fails unless ``path`` answers 200: slim images have no curl, and need none."""
    program = (
        "import http.client, sys;"
        f" c = http.client.HTTPConnection('127.0.0.1', {port}, timeout=4);"
        f" c.request('GET', '{path}', headers={{'Host': 'localhost'}});"
        " sys.exit(c.getresponse().status != 200)"
    )
    return ["python", "-c", program]
