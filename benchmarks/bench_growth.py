"""The cost of growth: an outbox that keeps a million sent rows, a manifest of 50 services, 200 registry entries.

Outbox: PostgreSQL (fsync on) and NATS JetStream from the wheels. How fast the relay of a real worker sends new rows,
and how long it takes to claim 250 rows and to purge 500, with 25,000 sent rows in the table and with a million.
Manifest: folders of 5 and of 50 services are read, planned as for `bandstand up`, and rendered by every exporter, each
time in a process of its own, whose peak memory is measured. Registry: the cost of `instances()`, and of the choice of
an instance for a call, with few entries and with 200, in processor time. Takes about five minutes and 2 GB of disk.
"""

import json
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench_relay import fill_outbox
from event_rig import HERE, envelopes, service, started, worker
from report import Report, Target, at_least, at_most, parser, processor_seconds
from tests.integration.servers import Nats, Postgres

FEW, MANY, QUICK_FEW, QUICK_MANY = 25_000, 1_000_000, 10_000, 20_000  # sent rows
BATCH, PURGED = 250, 500  # as the relay and housekeeping take them
PATIENCE = 120.0
SERVICES, ENTRIES = (5, 50), (5, 200)


def insert(postgres: Postgres, count: int, *, sent: bool) -> None:
    """Add rows of a usual size to the outbox: sent between 13 hours and one hour ago, oldest first, or waiting."""
    _, body = envelopes(1)[0]
    sent_at = "now() - interval '13 hours' + (n * interval '12 hours' / %(count)s)" if sent else "NULL"
    postgres.execute(
        f"""
        INSERT INTO bandstand_outbox (message_id, type, key, correlation_id, body, created_at, sent_at)
        SELECT gen_random_uuid()::text, 'order.placed', n::text, md5(n::text), %(body)s, now(), {sent_at}
        FROM generate_series(1, %(count)s) AS n
        """,
        parameters={"count": count, "body": body.decode()},
    )
    postgres.execute("VACUUM ANALYZE bandstand_outbox")
    postgres.execute("CHECKPOINT")


@contextmanager
def new_rows(postgres: Postgres) -> Iterator[None]:
    """Remove the rows that come inside."""
    top = postgres.execute("SELECT coalesce(max(id), 0) FROM bandstand_outbox")[0][0]
    yield
    postgres.execute("DELETE FROM bandstand_outbox WHERE id > %s", parameters=[top])


def relay_rate(postgres: Postgres, count: int) -> float:
    """Return the new rows a second of the worker that runs."""
    with new_rows(postgres):
        committed = fill_outbox(envelopes(count))
        deadline = time.monotonic() + PATIENCE
        while postgres.execute("SELECT EXISTS (SELECT 1 FROM bandstand_outbox WHERE sent_at IS NULL)")[0][0]:
            if time.monotonic() > deadline:
                raise SystemExit(f"The relay did not send {count:,} rows in {PATIENCE:.0f} s.")
            time.sleep(0.1)
        last = float(postgres.execute("SELECT extract(epoch FROM max(sent_at)) FROM bandstand_outbox")[0][0])
    return count / (last - committed)


def milliseconds(work: Callable[[], object]) -> float:
    """Return the milliseconds that ``work`` takes."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def claim_times(postgres: Postgres, times: int) -> list[float]:
    """Return the milliseconds of each claim, in order; what was claimed is marked as sent."""
    from bandstand.events.outbox import open_outbox

    outbox = open_outbox("default")
    taken = []
    with new_rows(postgres):
        insert(postgres, BATCH * times, sent=False)
        for _ in range(times):
            begun = time.perf_counter()
            rows = outbox.claim(BATCH, 30.0)
            taken.append(1000 * (time.perf_counter() - begun))
            assert len(rows) == BATCH
            outbox.mark_sent(rows)
    return sorted(taken)


def purge_times(times: int) -> list[float]:
    """Return the milliseconds of each batch, in order."""
    from bandstand.events.outbox import open_outbox

    outbox = open_outbox("default")

    def purge() -> None:
        assert outbox.purge(3600.0, PURGED) == PURGED

    return sorted(milliseconds(purge) for _ in range(times))


class OutboxFigures(NamedTuple):
    """What was measured in each round: rows a second, the median of the milliseconds, and their 99th percentile."""

    rates: list[float]
    processor: float
    claims: list[float]
    slow_claims: list[float]
    purges: list[float]
    slow_purges: list[float]


def measure_outbox(postgres: Postgres, *, quick: bool) -> OutboxFigures:
    """Measure with the sent rows that are there."""
    rounds, count, claims, purges = (1, 500, 5, 5) if quick else (5, 3000, 100, 10)
    with worker("--only", "relay") as process:
        relay_rate(postgres, 500)
        before = processor_seconds(process.pid)
        rates = [relay_rate(postgres, count) for _ in range(rounds)]
        processor = (processor_seconds(process.pid) - before) / (rounds * count)
    claimed = [claim_times(postgres, claims) for _ in range(rounds)]
    purged = [purge_times(purges) for _ in range(rounds)]
    return OutboxFigures(
        rates,
        processor,
        [statistics.median(each) for each in claimed],
        [each[int(len(each) * 0.99)] for each in claimed],
        [statistics.median(each) for each in purged],
        [each[int(len(each) * 0.99)] for each in purged],
    )


def report_outbox(report: Report, few: OutboxFigures, many: OutboxFigures, rows: str) -> None:
    """Report each figure with few rows, and with many beside it."""
    name, base = "growth.outbox", "few rows"
    report.add(f"{name}.few.relay", few.rates, "rows/s", processor=few.processor)
    report.add(f"{name}.many.relay", many.rates, "rows/s", processor=many.processor, to=(base, few.rates), note=rows)
    shares = [rate / statistics.median(few.rates) for rate in many.rates]
    report.add(f"{name}.relay.kept", shares, "of the rate", target=at_least(0.9))
    for what in ("claims", "slow_claims", "purges", "slow_purges"):
        limit = at_most(25.0 if "claims" in what else 50.0) if what.startswith("slow") else None
        found, before = getattr(many, what), getattr(few, what)
        label = f"{what.removeprefix('slow_').removesuffix('s')}{'.p99' if limit else ''}"
        report.add(f"{name}.few.{label}", before, "ms")
        report.add(f"{name}.many.{label}", found, "ms", target=limit, to=(base, before))


def measure_tables(report: Report, postgres: Postgres) -> None:
    """Compare an outbox with few sent rows and one with many."""
    few_rows, many = (QUICK_FEW, QUICK_MANY) if report.quick else (FEW, MANY)
    insert(postgres, few_rows, sent=True)
    few = measure_outbox(postgres, quick=report.quick)
    postgres.execute("TRUNCATE bandstand_outbox")
    insert(postgres, many, sent=True)
    report_outbox(report, few, measure_outbox(postgres, quick=report.quick), f"({many:,} sent rows)")


class Rendering(NamedTuple):
    """Seconds and processor time of each part, megabytes at most, and how much was rendered."""

    plan: tuple[float, float]
    render: tuple[float, float]
    memory: float
    files: int
    bytes: int


def write_platform(folder: Path, count: int) -> Path:
    """Make the folders of ``count`` services, each a copy of the shop's order service, and their manifest."""
    names = [f"unit-{number}-service" for number in range(count)]
    lines = ['[platform]\nname = "growth"\n[servers]\npostgres = "embedded"\nredis = "embedded"\nnats = "embedded"']
    for number, name in enumerate(names):
        source = shutil.copytree(
            HERE.parent / "shop" / "order-service", folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
        (source / "order_service").rename(source / name.replace("-", "_"))
        calls = [names[(number + step) % count] for step in (1, 2)]
        lines.append(f"[services.{name}]\ncalls = {json.dumps(calls)}")
        lines += ["issues_user_tokens = true"] if number == 0 else []
        lines.append(f'[[services.{name}.routes]]\npath = "/api/v1/units-{number}"')
        lines.append(f"rate_limit = {{ minute = {10 + number}, hour = 1000 }}")
    manifest = folder / "bandstand.toml"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def render(manifest: Path) -> Rendering:
    """Plan and render everything in this process."""
    from bandstand.workspace.export import EXPORTERS
    from bandstand.workspace.manifest import load
    from bandstand.workspace.runtime.facts import assign_ports, survey
    from bandstand.workspace.runtime.folder import StateFolder
    from bandstand.workspace.runtime.plan import make_plan

    begun, used = time.perf_counter(), time.process_time()
    workspace = load(manifest)
    StateFolder(workspace.state_folder).prepare()
    make_plan(workspace, survey(workspace, assign_ports(workspace, {})))
    plan = time.perf_counter() - begun, time.process_time() - used
    begun, used = time.perf_counter(), time.process_time()
    files = [file for exporter in EXPORTERS.values() for file in exporter(workspace)]
    rendering = time.perf_counter() - begun, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return Rendering(plan, rendering, memory, len(files), sum(len(file.content) for file in files))


def measure_manifest(report: Report, count: int, rounds: int) -> None:
    """Plan and render a platform of ``count`` services, and report."""
    largest = count == SERVICES[-1]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_platform(Path(folder), count)
        for _ in range(rounds):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found.append(pool.submit(render, manifest).result())
    name, note = f"growth.manifest.{count}", f"({found[0].files:,} files, {found[0].bytes / 1e6:.1f} MB)"
    plan_limit, render_limit, memory_limit = map(at_most, (2.0, 5.0, 200.0)) if largest else (None, None, None)
    add_seconds(report, f"{name}.plan", [each.plan for each in found], plan_limit)
    add_seconds(report, f"{name}.render", [each.render for each in found], render_limit, note)
    report.add(f"{name}.memory", [each.memory for each in found], "MB", target=memory_limit)


def add_seconds(
    report: Report, name: str, found: list[tuple[float, float]], target: Target | None, note: str = ""
) -> None:
    """Report seconds with the processor time that belongs to them."""
    seconds, used = zip(*found, strict=True)
    report.add(name, seconds, "s", target=target, processor=statistics.median(used), note=note)


def microseconds(work: Callable[[], object], *, quick: bool) -> list[float]:
    """Return the processor time of one call in each of several rounds."""
    number, rounds = (1000, 2) if quick else (10_000, 15)
    taken = timeit.repeat(work, number=number, repeat=rounds, timer=time.process_time)
    return [1e6 * each / number for each in taken]


def measure_registry(report: Report, count: int) -> None:
    """Measure a registry file with ``count`` services, and one service with ``count`` instances."""
    from bandstand.discovery.backends.file import FileRegistry

    limit = at_most(5.0) if count == ENTRIES[-1] else None
    urls = [f"http://127.0.0.1:{10_000 + number}" for number in range(count)]
    names = [f"unit-{number}-service" for number in range(count)]
    apart = {name: [{"id": name, "url": url}] for name, url in zip(names, urls, strict=True)}
    together = {"unit-service": [{"id": name, "url": url} for name, url in zip(names, urls, strict=True)]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "registry.json"
        file.write_text(json.dumps({"version": 1, "services": {**apart, **together}}))
        registry = FileRegistry(file.as_uri())
        found = microseconds(lambda: registry.instances(names[-1]), quick=report.quick)
        report.add(f"growth.registry.{count}_services.look_up", found, "µs", target=limit)
        measure_choice(report, registry.instances, count)


def measure_choice(report: Report, instances: Callable[[str], tuple[Any, ...]], count: int) -> None:
    """Measure the look-up of a service with ``count`` instances, and the choice of one with its begin and end."""
    from bandstand.client.targets import Target
    from bandstand.resilience import Policy

    largest = count == ENTRIES[-1]
    balancer = Target("unit-service", Policy()).balancer
    known = instances("unit-service")

    def choose() -> None:
        load = balancer.begin(balancer.choose(known, ()).url, known)
        balancer.end(load, known, good=True, seconds=0.001)

    for _ in range(20 * count):  # as in a process that has called them all
        choose()
    name = f"growth.registry.{count}_instances"
    found = microseconds(lambda: instances("unit-service"), quick=report.quick)
    report.add(f"{name}.look_up", found, "µs", target=at_most(10.0) if largest else None)
    found = microseconds(choose, quick=report.quick)
    report.add(f"{name}.choice", found, "µs", target=at_most(25.0) if largest else None)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    for count in SERVICES:
        measure_manifest(report, count, 1 if report.quick else 5)
    with started(Nats()) as nats, service(nats.url()) as postgres:
        for count in ENTRIES:
            measure_registry(report, count)
        measure_tables(report, postgres)
    report.end()


if __name__ == "__main__":
    main()
