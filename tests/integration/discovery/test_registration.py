"""Processes under real servers enter themselves into a real Consul, stay in it, and leave it."""

import os
import signal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from bandstand.conf import wire
from bandstand.discovery.crew import lock_folder
from tests.integration.discovery.processes import entries, manage, passing, running
from tests.integration.optional.servers import Consul, consul
from tests.waiting import until

pytestmark = pytest.mark.integration

THREAD = "discovery-registration"


def ready(service: Any) -> int:
    """The answer's status at ``/health/ready/``."""
    try:
        service.answers("/health/ready/")
    except HTTPError as error:
        error.close()
        return error.code
    return 200


def joined(agent: Consul) -> int:
    """Return how many processes share the instance: each holds a shared lock on its file."""
    (entry,) = entries(agent) or (None,)
    file = lock_folder() / f"{entry['Service']['ID']}.crew" if entry else None
    if file is None or not file.exists():
        return 0
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(lock[3] == "READ" and lock[5].endswith(f":{file.stat().st_ino}") for lock in locks if lock[1] == "FLOCK")


@pytest.mark.parametrize("server", ["granian", "gunicorn", "gunicorn-preload", "uvicorn", "runserver"])
def test_any_server_registers_and_leaves(server: str, agent: Consul, folder: Path) -> None:
    """A process is registered when it listens, with version, platform and tags, and SIGTERM takes it out."""
    with running(server, agent, folder, **{wire.TAGS: "blue,green"}) as service:
        (entry,) = entries(agent)
        assert entry["Service"]["Meta"] == {"version": "1.2.3", "platform": "shop"}
        assert entry["Service"]["Tags"] == ["blue", "green"]
        assert service.answers()
        service.terminate()
        until(lambda: not entries(agent), "the instance to be gone")
        until(lambda: service.process.poll() is not None, "the server to end")


def test_a_server_that_nobody_called_one(agent: Consul, folder: Path) -> None:
    """Where BANDSTAND_PROCESS was forgotten, loading the application is what makes a server, also when it leaves."""
    with running("granian", agent, folder, **{wire.PROCESS: ""}) as service:
        service.terminate()
        until(lambda: not entries(agent), "the instance to be gone")


def test_the_development_server_with_its_reloader(agent: Consul, folder: Path) -> None:
    """Ctrl-C, which reaches the reloader and the server, takes the instance out."""
    with running("runserver-reload", agent, folder) as service:
        assert len(entries(agent)) == 1
        os.killpg(service.process.pid, signal.SIGINT)
        until(lambda: not entries(agent), "the instance to be gone")


def test_no_command_registers(agent: Consul, folder: Path) -> None:
    """Commands start no thread that would register them, even where the surroundings are those of a web process."""
    threads = "import threading; print([thread.name for thread in threading.enumerate()])"
    loaded = "from django.core.wsgi import get_wsgi_application; get_wsgi_application(); "
    found = "; from bandstand.discovery.listening import find_listener; print(find_listener('user-service'))"
    assert manage(agent, folder, "shell", "-c", threads).stdout.splitlines()[-1] == "['MainThread']"
    manage(agent, folder, "migrate")
    manage(agent, folder, "check")
    # It is loading the application that makes the difference, and then still nobody listens.
    words = manage(agent, folder, "shell", "-c", loaded + threads + found).stdout
    assert words.splitlines()[-2:] == [f"['MainThread', '{THREAD}']", "(None, '')"]
    assert entries(agent) == []


def test_a_process_that_must_not_register_does_not(agent: Consul, folder: Path) -> None:
    """BANDSTAND_REGISTER=never leaves the registry alone."""
    with running("gunicorn", agent, folder, registers=False, **{wire.REGISTER: "never"}) as service:
        assert "MainThread" in service.answers("/threads/")
        assert THREAD not in service.answers("/threads/")
        assert entries(agent) == []


@pytest.mark.parametrize("check", ["http", "ttl"])
def test_a_killed_instance_is_soon_gone(agent: Consul, folder: Path, check: str) -> None:
    """A process that was killed is taken out by the check, whichever it is; whoever lives stays."""
    url = f"consul://127.0.0.1:{agent.port}/?check={check}"
    with (
        running("granian", agent, folder, **{wire.DISCOVERY_URL: url}) as one,
        running("granian", agent, folder, **{wire.DISCOVERY_URL: url}) as other,
    ):
        until(lambda: sorted(passing(agent)) == sorted([one.port, other.port]), "both instances")
        one.kill()
        until(lambda: passing(agent) == [other.port], "the killed one to be out")
        assert other.answers()


def test_it_leaves_before_it_stops(agent: Consul, folder: Path) -> None:
    """SIGTERM takes the instance out of routing at once, and it answers as long as it drains."""
    with running("granian", agent, folder, **{wire.DRAIN_SECONDS: "3600"}) as service:
        service.terminate()
        until(lambda: passing(agent) == [], "the instance to be out")
        assert service.answers()
        assert len(entries(agent)) == 1


def test_it_is_forgotten_when_it_has_drained(agent: Consul, folder: Path) -> None:
    """When the drain time is over the instance is deregistered, and the server ends well."""
    with running("granian", agent, folder, **{wire.DRAIN_SECONDS: "1"}) as service:
        service.terminate()
        until(lambda: entries(agent) == [], "the instance to be forgotten")
        until(lambda: service.process.poll() is not None, "the server to end")
        assert service.process.returncode == 0


@pytest.mark.parametrize(
    ("server", "sharing"),
    [("granian", 3), ("gunicorn", 3), ("gunicorn-preload", 1), ("uvicorn", 3)],  # preloaded, the parent registers
)
def test_workers_are_one_instance(agent: Consul, folder: Path, server: str, sharing: int) -> None:
    """Workers behind one port are registered once, and the end of one of them, in whatever way, takes nothing out."""
    with running(server, agent, folder, workers=3) as service:
        until(lambda: joined(agent) == sharing, "all workers to share the instance")
        until(lambda: len({service.answers() for _ in range(30)}) > 1, "several workers to answer")
        assert len(entries(agent)) == 1
        pids = sorted({int(service.answers()) for _ in range(50)})
        # One after the other: a server drops what a worker that ends has accepted, and two probes in a row take it out.
        for pid, number in ((pids[0], signal.SIGTERM), (pids[-1], signal.SIGKILL)):
            os.kill(pid, number)
            assert service.stays(), str(entries(agent))
        if service.process.poll() is None:
            service.terminate()
            until(lambda: not entries(agent), "the instance to be gone")


def test_workers_that_leave_stand_for_those_that_stay(agent: Consul, folder: Path) -> None:
    """While two of three drain, whoever a probe meets is ready; when all leave, nobody is."""
    with running("gunicorn", agent, folder, workers=3, **{wire.DRAIN_SECONDS: "3600"}) as service:
        until(lambda: len(service.workers()) == 3, "three workers")
        until(lambda: joined(agent) == 3, "all three to share the instance")
        for worker in service.workers()[:2]:
            worker.terminate()
        until(lambda: all(ready(service) == 200 for _ in range(20)), "the third to lead")
        until(lambda: passing(agent) == [service.port], "Consul to hear of it, if it met only those who leave")
        assert service.stays(), str(entries(agent))
        service.workers()[2].terminate()
        until(lambda: all(ready(service) == 503 for _ in range(20)), "all to be leaving")


def test_another_worker_takes_over(agent: Consul, folder: Path) -> None:
    """When the worker that registered is killed, another one keeps the instance registered, also in an empty Consul."""
    with running("gunicorn", agent, folder, workers=2) as service:
        for worker in service.workers():
            worker.kill()
            until(lambda: bool(service.workers()), "a new worker")
        agent.stop()
        agent.start()
        until(lambda: passing(agent) == [service.port], "the instance to be back")


def test_it_registers_again_in_a_consul_that_lost_it(agent: Consul, folder: Path) -> None:
    """A Consul that was restarted, or was told to forget it, gets the instance back."""
    with running("granian", agent, folder) as service:
        agent.stop()
        agent.start()
        assert entries(agent) == []
        until(service.is_registered, "the instance to be back")


def test_without_renewal_it_stays_lost(agent: Consul, folder: Path) -> None:
    """It is the renewal that brings the instance back: another one, which renews, is back twice meanwhile."""
    with (
        running("granian", agent, folder, WITHOUT_RENEWAL="1") as service,
        running("granian", agent, folder) as other,
    ):
        for _ in range(2):
            agent.stop()
            agent.start()
            until(other.is_registered, "the instance that renews")
        assert [entry["Service"]["Port"] for entry in entries(agent)] == [other.port]
        assert service.answers()


@pytest.mark.parametrize(
    ("host", "advertise", "address"),
    [("0.0.0.0", "", ""), ("0.0.0.0", "127.0.0.2", "127.0.0.2"), ("127.0.0.1", "", "127.0.0.1")],
)
def test_the_address_that_others_reach(agent: Consul, folder: Path, host: str, advertise: str, address: str) -> None:
    """What is told goes first, then what the server is bound to; the agent beside it knows the machine's address."""
    with running("uvicorn", agent, folder, UVICORN_HOST=host, **{wire.ADVERTISE: advertise}):
        assert entries(agent)[0]["Service"]["Address"] == address


def test_health_tells_of_a_consul_that_is_away(agent: Consul, folder: Path) -> None:
    """A process that can't register is degraded and ready, and strangers are told no more than that."""
    with running("granian", agent, folder) as service:
        assert service.json("/health/")["status"] == "healthy"
        agent.stop()
        until(lambda: service.json("/health/")["status"] == "degraded", "the health to change")
        assert service.json("/health/")["checks"]["discovery"] == "failing"
        assert service.json("/health/ready/")["status"] == "ready"
        assert "ConsulAgent" not in service.answers("/health/")
        agent.start()
        until(lambda: service.json("/health/")["status"] == "healthy", "the health to be back")


def test_without_a_thread_it_serves_and_health_tells(agent: Consul, folder: Path) -> None:
    """A process that can start no thread pretends nothing; it registers as soon as /health/ finds that it can."""
    full = folder / "full"
    full.touch()
    with running("granian", agent, folder, registers=False, NO_THREAD_WHILE=str(full)) as service:
        found = service.json("/health/")
        assert (found["status"], found["checks"]["discovery"]) == ("degraded", "failing")
        assert service.json("/health/ready/")["status"] == "ready"
        assert "not registered: can't start new thread" in service.log.read_text()
        assert entries(agent) == []
        full.unlink()
        until(lambda: service.json("/health/")["status"] == "healthy", "the health to change")
        until(service.is_registered, "the instance")
        service.terminate()
        until(lambda: not entries(agent), "the instance to be gone")


def test_a_worker_registers_when_it_is_asked_to(agent: Consul, folder: Path) -> None:
    """A worker is entered under a name of its own, where its metrics are, and leaves when it ends."""
    more = {wire.PROCESS: "worker", wire.REGISTER: "always", wire.TESTING: "1"}
    with running("worker", agent, folder, registers=False, **more) as worker:
        until(lambda: passing(agent, name="user-service-worker") == [worker.port], "the worker")
        assert entries(agent) == []
        worker.terminate()
        until(lambda: entries(agent, name="user-service-worker") == [], "the worker to be gone")


ACL = 'acl { enabled = true, default_policy = "deny", tokens { master = "root-token" } }'


def test_a_token_is_shown_to_consul(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    """With access control the token of the variable lets a process register and look up; without it neither is done."""
    with consul(tmp_path_factory.mktemp("consul"), ACL) as guarded:
        more: dict[str, Any] = {wire.DISCOVERY_TOKEN: "root-token"}
        with running("gunicorn", guarded, folder, registers=False, **more) as service:
            until(lambda: passing(guarded, token="root-token") == [service.port], "the instance")
        with running("gunicorn", guarded, folder, registers=False) as service:
            until(lambda: "ACLPermissionDenied" in service.log.read_text(), "the refusal")
            assert service.port not in passing(guarded, token="root-token")
            assert "root-token" not in service.log.read_text()
