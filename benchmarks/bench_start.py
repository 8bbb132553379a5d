"""How long one service takes to start until it answers, and `manage.py check`, beside plain Django with the same app.

The shop's product service, with its environment of `bandstand up`; plain Django with REST framework and the same
models; and that with the usual packages (see bench_service.py). All have migrated databases, and granian with the same
options. A start is timed from the creation of the process to the first answer 200 to a request for the list of
products, which a client repeats every 10 ms. They take turns; compiled Python files are there. The processor time is
that of the whole start, and of the whole command. Takes about two minutes.
"""

import os
import statistics
import time

from platform_rig import seconds, tree
from report import Report, at_most, parser
from service_rig import BANDSTAND, NAMES, PACKAGES, PLAIN, Service, catalogue

ROUNDS = 9
LIMIT = 1.5  # times plain Django
SECONDS = 2.0
Sample = tuple[float, float]
"""Seconds, and seconds of processor time."""


def start(service: Service) -> Sample:
    """Start its web server, and stop it."""
    begun = time.perf_counter()
    with service.running() as (_, pid):
        return time.perf_counter() - begun, seconds(tree(pid))


def check(service: Service) -> Sample:
    """Run the command."""
    begun, before = time.perf_counter(), os.times()
    service.manage("check")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, used


def add(report: Report, what: str, found: dict[str, list[Sample]]) -> None:
    """Report one of the two, and judge Bandstand's by plain Django's of the same rounds."""
    base = [taken for taken, _ in found[PLAIN]]
    for name, samples in found.items():
        taken = [each for each, _ in samples]
        used = statistics.median(each for _, each in samples)
        limit = at_most(SECONDS) if name == BANDSTAND else None
        to = None if name == PLAIN else (NAMES[PLAIN], base)
        report.add(f"start.{what}.{name}", taken, "s", target=limit, processor=used, to=to)
    for other in (PLAIN, PACKAGES):
        if other in found:
            pairs = zip(found[BANDSTAND], found[other], strict=True)
            ratios = [one[1] / two[1] for one, two in pairs]
            report.add(f"start.{what}.processor.to_{other}", ratios, f"of {other}", target=at_most(LIMIT))


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with catalogue(report) as given:
        for what, measure in (("web", start), ("check", check)):
            found: dict[str, list[Sample]] = {name: [] for name in given.services}
            for service in given.services.values():
                measure(service)  # compiles, and fills the caches of the machine
            for _ in range(1 if report.quick else ROUNDS):
                for name, service in given.services.items():
                    found[name].append(measure(service))
            add(report, what, found)
    report.end()


if __name__ == "__main__":
    main()
