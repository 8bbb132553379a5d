"""What a person reads when the platform did not start."""

from pathlib import Path

import msgspec
import pytest

from bandstand.exceptions import MigrationFailed, ServerFailed, ServiceFailed
from bandstand.workspace.manifest import Server
from bandstand.workspace.runtime.failures import explain
from bandstand.workspace.runtime.remedies import remedies
from bandstand.workspace.runtime.supervision import Failure
from tests.runtime.plans import process, step, task


def test_a_migration() -> None:
    """Who, why, the whole log, and how to try again."""
    failure = Failure(name="s-migrate", reason="it ended with status 1", status=1)
    error = explain(failure, task("s-migrate"), ["Traceback (most recent call last):", "E: x"])
    assert isinstance(error, MigrationFailed)
    assert "s-migrate failed: it ended with status 1." in error.message
    assert "    E: x" in error.message
    assert "/logs/s-migrate.log" in error.message
    assert "bandstand migrate s" in error.hint


MISSING = 'django.db.utils.NotSupportedError: extension "pg_trgm" is not available'
MISSING_IN_14 = (
    "django.db.utils.OperationalError: could not open extension control file "
    '"/usr/share/postgresql/14/extension/pg_trgm.control": No such file or directory'
)


@pytest.mark.parametrize("line", [MISSING, MISSING_IN_14])
@pytest.mark.parametrize(
    ("server", "advice"),
    [
        (Server(kind="postgres"), 'The embedded PostgreSQL has no extension "pg_trgm": write postgres = "system"'),
        (Server(kind="postgres", system=True), 'The PostgreSQL of this machine has no extension "pg_trgm": install'),
        (Server(kind="postgres", url="postgres://db"), 'That PostgreSQL has no extension "pg_trgm": install it there'),
    ],
)
def test_a_missing_extension(line: str, server: Server, advice: str) -> None:
    """What to do depends on where PostgreSQL comes from."""
    failure = Failure(name="s-migrate", reason="it ended with status 1", status=1)
    resource = msgspec.structs.replace(task("s-migrate"), remedies=remedies(server))
    assert advice in explain(failure, resource, ["Traceback (most recent call last):", line]).hint
    assert "`bandstand migrate s`" in explain(failure, resource, ["KeyError: 'pg_trgm'"]).hint


def test_a_process_that_dies_or_is_late() -> None:
    """A crash and a late readiness read differently."""
    crash = explain(Failure(name="web", reason="it ended with status 1", status=1), process("web"), [])
    late = explain(Failure(name="web", reason="it was not ready after 60 s"), process("web"), [])
    assert isinstance(crash, ServiceFailed)
    assert "ends again and again before it is ready" in crash.message
    assert "It wrote nothing." in crash.message
    assert "did not become ready: it was not ready after 60 s" in late.message


def test_a_server_whose_data_may_be_damaged() -> None:
    """The message names the folder to move away, and says what that costs."""
    resource = msgspec.structs.replace(process("db", service=""), data=Path("/w/.bandstand/postgres/data"))
    error = explain(Failure(name="db", reason="x", status=1), resource, ["PANIC: could not locate a valid checkpoint"])
    assert isinstance(error, ServerFailed)
    assert "move /w/.bandstand/postgres/data away or delete it" in error.hint
    assert "what was in it is lost" in error.hint


def test_servers_and_steps() -> None:
    """What belongs to the platform is a ServerFailed."""
    server = explain(Failure(name="db", reason="x", status=1), process("db", service=""), ["FATAL"])
    assert isinstance(server, ServerFailed)
    assert isinstance(explain(Failure(name="databases", reason="no disk"), step("databases"), []), ServerFailed)


def test_only_a_server_that_ended_may_have_damaged_data() -> None:
    """Nobody is told to delete data because a server was late: that has another reason."""
    server = msgspec.structs.replace(process("postgres", service=""), data=Path("/state/postgres/data"))
    crash = explain(Failure(name="postgres", reason="it ended with status 1", status=1), server, [])
    late = explain(Failure(name="postgres", reason="it was not ready after 60 s"), server, [])
    assert "delete it" in crash.hint
    assert "delete" not in late.hint
