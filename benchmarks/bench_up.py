"""How long `bandstand up` takes for the whole shop: cold (new data, seeded catalogue) and warm (started before).

Runs on a copy of shop/: three cold starts, each with new data, and three warm ones, each stopped before the next.
Processor time is that of the command and of all processes of the platform, from the start of the command until all is
ready. Takes about two minutes.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import Cost, Report, Target, at_most, parser, processor_seconds

ROOT = Path(__file__).parents[1]
BANDSTAND = Path(sys.executable).with_name("bandstand")
COLD, WARM = at_most(25), at_most(12)  # seconds
STARTS = 3


def run(shop: Path, *arguments: str) -> str:
    """Run the command in the shop and return its output; when it fails, its output is the message of this script."""
    done = subprocess.run([BANDSTAND, *arguments], cwd=shop, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bandstand {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def children_processor() -> float:
    """Return the processor time of the commands that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(shop: Path) -> Cost:
    """Start the platform until all is ready, stop it, and return what the start cost."""
    before, begun = children_processor(), time.perf_counter()
    run(shop, "up", "--detach", "--json")
    seconds, command = time.perf_counter() - begun, children_processor() - before
    platform: int = json.loads(run(shop, "ps", "--json"))["pid"]
    processor = command + processor_seconds(platform)
    run(shop, "down")
    return Cost(seconds, processor)


def cold(shop: Path) -> Cost:
    """Start it without anything of an earlier start."""
    shutil.rmtree(shop / ".bandstand", ignore_errors=True)
    return start(shop)


def add(report: Report, name: str, costs: list[Cost], target: Target) -> None:
    """Report starts."""
    processor = statistics.median(cost.processor for cost in costs)
    report.add(name, [cost.seconds for cost in costs], "s", target=target, processor=processor)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    starts = 1 if report.quick else STARTS
    with tempfile.TemporaryDirectory() as folder:
        ignore = shutil.ignore_patterns(".bandstand", "__pycache__")
        shop = Path(shutil.copytree(ROOT / "shop", Path(folder) / "shop", ignore=ignore))
        add(report, "up.cold", [cold(shop) for _ in range(starts)], COLD)
        add(report, "up.warm", [start(shop) for _ in range(starts)], WARM)
    report.end()


if __name__ == "__main__":
    main()
