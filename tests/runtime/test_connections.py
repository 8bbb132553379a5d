"""How many database connections a service needs, and that the cluster offers as many."""

from pathlib import Path

from bandstand.conf import Settings, wire
from bandstand.workspace.manifest.connections import max_connections
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.resources import Process
from tests.runtime.plans import facts, workspace

ROOT = Path("/w")
PLAN = make_plan(workspace(ROOT), facts(ROOT))


def pool(name: str) -> int:
    found = PLAN.resource(name)
    assert isinstance(found, Process)
    return int(found.command.environment[wire.DATABASE_POOL_SIZE])


def test_readiness_has_a_connection_when_all_threads_are_at_work() -> None:
    """The web process's pool has one more than it has threads."""
    assert pool("user-service-web") == workspace(ROOT).services[0].threads + 1


def test_the_worker_has_one_for_each_of_its_threads() -> None:
    """Handlers, relay, retrier and housekeeping never wait for each other's connections."""
    assert pool("user-service-worker") >= Settings(service="s").events.threads + 4


def test_the_cluster_offers_what_all_together_may_open() -> None:
    """max_connections covers every pool, the listener of each worker and somebody's commands."""
    server = PLAN.resource("postgres")
    assert isinstance(server, Process)
    words = [word for word in server.command.arguments if word.startswith("max_connections=")]
    offered = int(words[0].partition("=")[2])
    pools = [pool(each.name) for each in PLAN.resources if isinstance(each, Process) and each.service]
    assert len(pools) == 3
    assert offered == max_connections(workspace(ROOT).services) >= sum(pools) + 1 + 2 * 8 + 3
