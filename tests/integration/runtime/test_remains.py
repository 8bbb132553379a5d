"""What is left of a PostgreSQL that was killed and keeps a new one from starting: its sessions and its lock file."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from bandstand.exceptions import ServerFailed
from bandstand.workspace.runtime.servers import postgres
from tests.integration.servers import Postgres, Server, has_servers
from tests.waiting import GUARD

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture
def server() -> Iterator[Postgres]:
    has_servers()
    server = Postgres(fsync=False)
    server.start()
    try:
        yield server
    finally:
        server.close()


def leave_an_orphan(server: Postgres) -> psutil.Process:
    """Kill the server alone, while one of its sessions stands still as if it waited for the disk."""
    with psycopg.connect(server.url()) as connection:
        session = psutil.Process(connection.info.backend_pid)
        session.suspend()
        assert server.process is not None
        others = psutil.Process(server.process.pid).children(recursive=True)
        others.remove(session)
        Server.end(server, signal.SIGKILL)
        connection.close()
    psutil.wait_procs(others, timeout=GUARD)  # they end by themselves once they see that the server is gone
    return session


def test_an_orphan_keeps_the_server_from_starting(server: Postgres) -> None:
    """PostgreSQL refuses as long as the orphan has its shared memory, and starts once it was ended."""
    orphan = leave_an_orphan(server)
    with pytest.raises(AssertionError, match="shared memory"):
        server.start()
    assert postgres.clear_remains(data_of(server)) == (orphan.pid,)
    server.start()


def test_a_lock_whose_process_is_another_by_now_is_removed(server: Postgres) -> None:
    """After a reboot, or where nobody reaps a zombie, the id of the killed server is not free: PostgreSQL refuses."""
    server.kill()
    lock = data_of(server) / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lock.write_text(f"{stranger.pid}\n{data_of(server)}\n")
        with pytest.raises(AssertionError, match=r'lock file "postmaster.pid" already exists'):
            server.start()
        assert postgres.clear_remains(data_of(server)) == ()
        server.start()
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_runs_is_left_alone(server: Postgres) -> None:
    """Neither its sessions nor its lock are remains."""
    with psycopg.connect(server.url()) as connection:
        assert postgres.clear_remains(data_of(server)) == ()
        assert (data_of(server) / "postmaster.pid").exists()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_folder_may_be_reached_through_a_link(server: Postgres, tmp_path: Path) -> None:
    """The system tells where a process works without links."""
    orphan = leave_an_orphan(server)
    (tmp_path / "link").symlink_to(data_of(server))
    assert postgres.clear_remains(tmp_path / "link") == (orphan.pid,)


def test_who_can_not_be_ended_is_named(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for the disk obeys no signal: the error says which, and that one should wait."""
    orphan = leave_an_orphan(server)
    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "kill", lambda process: None)
        with pytest.raises(ServerFailed, match=f"process {orphan.pid} still does not end"):
            postgres.clear_remains(data_of(server), grace=0.05)


def data_of(server: Postgres) -> Path:
    return server.folder / "data"
