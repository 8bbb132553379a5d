"""How processes are replaced, with a crew that runs nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bandstand.conf import wire
from bandstand.exceptions import ServerFailed
from bandstand.workspace.export.envoy import GatewayRuntime
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime import restarting
from bandstand.workspace.runtime.credentials import load_credentials
from bandstand.workspace.runtime.facts import Facts
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.plan import DATABASES, make_plan
from bandstand.workspace.runtime.ports import Reservations, is_free
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.resources import Action, Plan, Process, Resource, Step
from bandstand.workspace.runtime.restarting import Restarter, RestartRequest, renamed
from bandstand.workspace.runtime.state import Restarting, read_state
from bandstand.workspace.runtime.supervision import Status
from tests.runtime.plans import facts, workspace


class Crew:
    """Whoever joins is ready at once, unless it is to fail; whoever leaves has ended at once."""

    def __init__(self, ports: Reservations, *, fails: str = "") -> None:
        self.ports = ports
        self.log: list[tuple[str, str]] = []
        self.processes: dict[str, Process] = {}
        self.observer: Restarter | None = None
        self._fails = fails

    @property
    def told(self) -> list[tuple[str, str]]:
        return [entry for entry in self.log if entry[0] in {"join", "leave"}]

    def join(self, process: Process) -> None:
        self.log.append(("join", process.name))
        self.processes[process.name] = process
        failed = self._fails and process.name.startswith(self._fails)
        self.say(process.name, Phase.STOPPED if failed else Phase.READY)

    def leave(self, name: str) -> None:
        self.log.append(("leave", name))
        self.say(name, Phase.STOPPED)

    def update(self, process: Process) -> None:
        self.log.append(("update", process.name))

    def say(self, name: str, phase: Phase, *, restarts: int = 0) -> None:
        assert self.observer is not None
        reason = "" if phase is Phase.READY else "it ended with status 1"
        self.observer.changed(Status(resource=self.processes[name], phase=phase, reason=reason, restarts=restarts))


class Gateway(Publisher):
    """Knows at once what it is told, unless it is ``deaf``."""

    deaf = False
    crew: Crew

    def leaving(self, name: str) -> None:
        self.crew.log.append(("leaving", name))

    async def told(self, service: str) -> None:
        self.crew.log.append(("told", service))
        if self.deaf:
            raise ServerFailed(f"The gateway has not taken eds-{service}.json within 10 s.")


class DeafGateway(Gateway):
    deaf = True


class DeadlyGateway(Gateway):
    """The requests that it sends are the end of a new process."""

    async def told(self, service: str) -> None:
        await super().told(service)
        self.crew.say(self.crew.told[-1][1], Phase.BACKOFF)


class HarshGateway(Gateway):
    """The same, with a process that is soon back."""

    async def told(self, service: str) -> None:
        await super().told(service)
        self.crew.say(self.crew.told[-1][1], Phase.READY, restarts=1)


def restart(
    root: Path, crew: Crew, *rounds: list[str] | RestartRequest, ready: bool = True, gateway: type[Gateway] = Gateway
) -> Restarting:
    """Ask for one restart after the other; return how the last one went."""
    known = facts(root)
    known.folder.prepare()
    place = workspace(root)
    crew.processes |= {each.name: each for each in make_plan(place, known).resources if isinstance(each, Process)}

    async def run() -> Restarting:
        publisher = gateway(place, GatewayRuntime(port=8000, admin_port=1, xds_dir=known.folder.envoy), known.folder)
        publisher.crew = crew
        recorder = Recorder(known.folder, platform="shop", ports=known.ports, pid_of=lambda _: None)
        restarter = crew.observer = Restarter(crew, publisher, recorder, known, lambda _: None, ports=crew.ports)
        if ready:
            restarter.ready()
        watching = asyncio.create_task(restarter.watch())
        for number, asked in enumerate(rounds, start=1):
            request = asked if isinstance(asked, RestartRequest) else RestartRequest(services=tuple(asked))
            known.folder.restart_request.write_bytes(msgspec.json.encode(request))
            restarter.request()
            for _ in range(1000):
                await asyncio.sleep(0)
                if read_state(known.folder).restarting.number == number:
                    break
        watching.cancel()
        return read_state(known.folder).restarting

    return asyncio.run(run())


@pytest.fixture
def ports() -> Iterator[Reservations]:
    with Reservations() as ports:
        yield ports


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "_PROBATION", 0)


def test_each_process_is_replaced_in_turn(tmp_path: Path, ports: Reservations) -> None:
    """The new one comes before the old one goes, web before worker; the next time it is the new one that goes."""
    crew = Crew(ports)
    result = restart(tmp_path, crew, ["user-service"], ["user-service"])
    assert (result.failed, result.number) == (False, 2)
    assert crew.told == [
        ("join", "user-service-web-2"),
        ("leave", "user-service-web"),
        ("join", "user-service-worker-3"),
        ("leave", "user-service-worker"),
        ("join", "user-service-web-4"),
        ("leave", "user-service-web-2"),
        ("join", "user-service-worker-5"),
        ("leave", "user-service-worker-3"),
    ]


def test_the_gateway_knows_first(tmp_path: Path, ports: Reservations) -> None:
    """The old one is taken out only when the gateway knows the new one, and ends only when it knows that too."""
    crew = Crew(ports)
    restart(tmp_path, crew, ["order-service"])
    assert crew.log == [
        ("join", "order-service-web-2"),
        ("told", "order-service"),
        ("leaving", "order-service-web"),
        ("told", "order-service"),
        ("leave", "order-service-web"),
    ]


def test_one_that_does_not_become_ready(tmp_path: Path, ports: Reservations) -> None:
    """The old one stays, the rest of what was asked for is left alone, and the reason is told."""
    crew = Crew(ports, fails="user-service-web")
    result = restart(tmp_path, crew, ["user-service", "order-service"])
    assert result.failed
    assert "did not become ready: it ended with status 1" in result.text
    assert crew.told == [("join", "user-service-web-2")]


def test_one_that_the_gateway_does_not_know(tmp_path: Path, ports: Reservations) -> None:
    """The old one stays and the new one goes: ending the old one would leave requests with nowhere to go."""
    crew = Crew(ports)
    result = restart(tmp_path, crew, ["user-service"], gateway=DeafGateway)
    assert result.failed
    assert "has not taken eds-user-service.json within 10 s. The old process" in result.text
    assert crew.told == [("join", "user-service-web-2"), ("leave", "user-service-web-2")]


@pytest.mark.parametrize(
    ("gateway", "reason"), [(DeadlyGateway, "it ended with status 1"), (HarshGateway, "it was started anew")]
)
def test_one_that_falls_when_requests_come(
    tmp_path: Path, ports: Reservations, gateway: type[Gateway], reason: str
) -> None:
    """That a process was ready for a moment is not enough to end the one that works."""
    crew = Crew(ports)
    result = restart(tmp_path, crew, ["user-service"], gateway=gateway)
    assert result.failed
    assert f"was ready, and fell: {reason}. The old process stays." in result.text
    assert crew.told == [("join", "user-service-web-2"), ("leave", "user-service-web-2")]


def test_one_that_does_not_run(tmp_path: Path, ports: Reservations) -> None:
    """A service that was added to the manifest afterwards is not said to be restarted, and none of the others is."""
    crew = Crew(ports)
    result = restart(tmp_path, crew, ["user-service", "new-service"])
    assert result.failed
    assert "without new-service: `bandstand down`" in result.text
    assert crew.told == []


def test_a_fault_of_the_runner_itself(tmp_path: Path, ports: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks is told of it, and the next restart is heard."""
    crew = Crew(ports)
    join = crew.join

    def break_once(process: Process) -> None:
        monkeypatch.setattr(crew, "join", join)
        raise RuntimeError("no more files")

    monkeypatch.setattr(crew, "join", break_once)
    result = restart(tmp_path, crew, ["user-service"])
    assert (result.failed, result.text) == (True, "RuntimeError: no more files")
    monkeypatch.setattr(crew, "join", break_once)
    assert not restart(tmp_path, crew, ["user-service"], ["user-service"]).failed


def test_a_signal_without_a_request(tmp_path: Path, ports: Reservations) -> None:
    """It is no answer to the next who asks."""
    assert restart(tmp_path, Crew(ports), []).begun == 0


def test_nothing_is_replaced_while_the_platform_starts(tmp_path: Path, ports: Reservations) -> None:
    """What is not there yet can't be replaced, and that is said."""
    crew = Crew(ports)
    assert "still starting" in restart(tmp_path, crew, ["user-service"], ready=False).text
    assert crew.told == []


def test_a_replacement_shares_nothing_with_the_old_one(tmp_path: Path, ports: Reservations) -> None:
    """Another port and another file in which it says that it is ready; the same log, and everything else as planned."""
    crew = Crew(ports)
    restart(tmp_path, crew, ["user-service"])
    old, new = crew.processes["user-service-web"], crew.processes["user-service-web-2"]
    assert new.port not in {None, old.port}
    assert str(new.port) in new.command.arguments
    assert new.url == f"http://127.0.0.1:{new.port}"
    assert new.log == old.log
    worker = crew.processes["user-service-worker-3"]
    assert worker.ready_file != crew.processes["user-service-worker"].ready_file
    assert worker.command.environment[wire.READY_FILE] == str(worker.ready_file)
    assert getattr(worker.probe, "path") == worker.ready_file  # noqa: B009 - a probe of this kind has one


def test_the_port_of_the_one_that_stays_is_reserved(tmp_path: Path, ports: Reservations) -> None:
    """Nobody else gets it while the process runs or is started anew; that of the replaced one is free again."""
    crew = Crew(ports)
    restart(tmp_path, crew, ["user-service"], ["user-service"])
    replaced, stays = (crew.processes[f"user-service-web-{number}"].port for number in (2, 4))
    assert replaced is not None
    assert stays is not None
    assert is_free(replaced)
    assert not is_free(stays)


def test_the_port_of_one_that_fails_is_free_again(tmp_path: Path, ports: Reservations) -> None:
    """It came for nothing, and leaves nothing."""
    crew = Crew(ports, fails="user-service-web")
    restart(tmp_path, crew, ["user-service"])
    failed = crew.processes["user-service-web-2"].port
    assert failed is not None
    assert is_free(failed)


def test_a_web_process_needs_no_file(tmp_path: Path) -> None:
    """A process that says otherwise that it is ready gets no more than another name."""
    web = make_plan(workspace(tmp_path), facts(tmp_path)).resource("user-service-web")
    assert isinstance(web, Process)
    assert renamed(web, "x", facts(tmp_path).folder) == msgspec.structs.replace(web, name="x", place=web.name)


def test_it_is_shown_under_the_name_of_its_place(tmp_path: Path) -> None:
    """Two processes of one place are told apart; the one that stays has the name that everybody knows."""
    known = facts(tmp_path)
    known.folder.prepare()
    web = make_plan(workspace(tmp_path), known).resource("user-service-web")
    assert isinstance(web, Process)
    new = renamed(web, "user-service-web-2", known.folder)
    recorder = Recorder(known.folder, platform="shop", ports=known.ports, pid_of=lambda _: None)

    def shown() -> list[str]:
        return [process.name for process in read_state(known.folder).processes]

    recorder.changed(Status(resource=web, phase=Phase.READY))
    recorder.changed(Status(resource=new, phase=Phase.READY))
    assert shown() == ["user-service-web", "user-service-web-2"]
    recorder.changed(Status(resource=web, phase=Phase.STOPPED, gone=True))
    assert shown() == ["user-service-web"]


class Reread(Action, frozen=True, kw_only=True):
    """A server that reads its users again, or does not."""

    log: list[str]
    name: str
    fault: str = ""

    async def perform(self) -> tuple[str, ...]:
        self.log.append(self.name)
        if self.fault:
            raise ServerFailed(self.fault)
        return ()


@pytest.mark.parametrize("fault", ["", "NATS does not take its changed configuration: no"])
def test_servers_get_the_passwords_that_the_file_has_now(
    tmp_path: Path, ports: Reservations, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """They read them, are asked with them, and new processes are started with them; else the fault is the answer."""
    log: list[str] = []
    crew = Crew(ports)

    def planned(place: Workspace, known: Facts) -> Plan:
        plan = make_plan(place, known)
        return msgspec.structs.replace(plan, resources=tuple(map(noted, plan.resources)))

    def noted(each: Resource) -> Resource:
        if isinstance(each, Process) and each.reread is not None:
            return msgspec.structs.replace(each, reread=Reread(log=log, name=each.name, fault=fault))
        if isinstance(each, Step) and each.name == DATABASES:
            return msgspec.structs.replace(each, action=Reread(log=log, name=each.name))
        return each

    monkeypatch.setattr(restarting, "make_plan", planned)
    result = restart(tmp_path, crew, RestartRequest(passwords=True, services=("order-service",)))
    assert (result.failed, result.text) == (bool(fault), fault)
    if fault:
        assert crew.log == []
        return
    assert log == ["redis", "nats", DATABASES]
    assert [name for what, name in crew.log if what == "update"] == ["postgres", "redis", "nats"]
    assert not (tmp_path / ".bandstand" / "envoy" / "eds-order-service.json").exists(), "the gateway's are as they were"
    secrets = load_credentials(tmp_path / ".bandstand" / "secrets.json", [])
    environment = crew.processes["order-service-web-2"].command.environment
    assert secrets.services["order-service"].postgres in environment[wire.DATABASE_URL]
