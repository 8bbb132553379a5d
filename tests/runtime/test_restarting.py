"""How processes are replaced, with a crew that runs nothing."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from bandstand.conf import wire
from bandstand.workspace.export.envoy import GatewayRuntime
from bandstand.workspace.runtime import restarting
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.resources import Process
from bandstand.workspace.runtime.restarting import Restarter, renamed
from bandstand.workspace.runtime.state import Restarting, read_state
from bandstand.workspace.runtime.supervision import Status
from tests.runtime.plans import facts, workspace


class Crew:
    """Whoever joins is ready at once, unless it is to fail; whoever leaves has ended at once."""

    def __init__(self, *, fails: str = "") -> None:
        self.told: list[tuple[str, str]] = []
        self.processes: dict[str, Process] = {}
        self.observer: Restarter | None = None
        self._fails = fails

    def join(self, process: Process) -> None:
        self.told.append(("join", process.name))
        self.processes[process.name] = process
        failed = self._fails and process.name.startswith(self._fails)
        self._say(process.name, Phase.STOPPED if failed else Phase.READY)

    def leave(self, name: str) -> None:
        self.told.append(("leave", name))
        self._say(name, Phase.STOPPED)

    def _say(self, name: str, phase: Phase) -> None:
        assert self.observer is not None
        self.observer.changed(Status(resource=self.processes[name], phase=phase, reason="it ended with status 1"))


def restart(root: Path, crew: Crew, *rounds: list[str], ready: bool = True) -> Restarting:
    """Ask for one restart after the other; return how the last one went."""
    known = facts(root)
    known.folder.prepare()
    place = workspace(root)
    crew.processes |= {each.name: each for each in make_plan(place, known).resources if isinstance(each, Process)}

    async def run() -> Restarting:
        publisher = Publisher(place, GatewayRuntime(port=8000, admin_port=1, xds_dir=known.folder.envoy), known.folder)
        recorder = Recorder(known.folder, platform="shop", ports=known.ports, pid_of=lambda _: None)
        restarter = crew.observer = Restarter(crew, publisher, recorder, known, lambda _: None)
        if ready:
            restarter.ready()
        watching = asyncio.create_task(restarter.watch())
        for number, names in enumerate(rounds, start=1):
            known.folder.restart_request.write_bytes(msgspec.json.encode(names))
            restarter.request()
            for _ in range(1000):
                await asyncio.sleep(0)
                if read_state(known.folder).restarting.number == number:
                    break
        watching.cancel()
        return read_state(known.folder).restarting

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "_SETTLE", 0)


def test_each_process_is_replaced_in_turn(tmp_path: Path) -> None:
    """The new one comes before the old one goes, web before worker; the next time it is the new one that goes."""
    crew = Crew()
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


def test_one_that_does_not_become_ready(tmp_path: Path) -> None:
    """The old one stays, the rest of what was asked for is left alone, and the reason is told."""
    crew = Crew(fails="user-service-web")
    result = restart(tmp_path, crew, ["user-service", "order-service"])
    assert result.failed
    assert "did not become ready: it ended with status 1" in result.text
    assert crew.told == [("join", "user-service-web-2")]


def test_nothing_is_replaced_while_the_platform_starts(tmp_path: Path) -> None:
    """What is not there yet can't be replaced, and that is said."""
    crew = Crew()
    assert "still starting" in restart(tmp_path, crew, ["user-service"], ready=False).text
    assert crew.told == []


def test_a_replacement_shares_nothing_with_the_old_one(tmp_path: Path) -> None:
    """Another port and another file in which it says that it is ready; the same log, and everything else as planned."""
    crew = Crew()
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
