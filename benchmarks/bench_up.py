"""How long `bandstand up` takes for the whole shop: cold (new data, seeded catalogue) and warm (started before).

Runs on a copy of shop/, three warm starts, each stopped before the next. Prints a table and one JSON object a line.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANDSTAND = Path(sys.executable).with_name("bandstand")
LIMITS = {"up.cold": 25.0, "up.warm": 12.0}
WARM_STARTS = 3


def start(shop: Path) -> float:
    """Return the seconds from the command's start to its exit, when all is ready, and stop the platform."""
    started = time.perf_counter()
    up = subprocess.run([BANDSTAND, "up", "--detach", "--json"], cwd=shop, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if up.returncode:
        sys.exit(f"bandstand up failed:\n{up.stdout}{up.stderr}")
    subprocess.run([BANDSTAND, "down"], cwd=shop, capture_output=True, check=True)
    return seconds


def main() -> None:
    """Measure, print, and say the machine."""
    with tempfile.TemporaryDirectory() as folder:
        ignore = shutil.ignore_patterns(".bandstand", "__pycache__")
        shop = Path(shutil.copytree(ROOT / "shop", Path(folder) / "shop", ignore=ignore))
        results = {"up.cold": [start(shop)], "up.warm": [start(shop) for _ in range(WARM_STARTS)]}
    print(
        f"machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{'measure':10} {'median s':>9} {'all':>24} {'limit s':>8}")
    for name, seconds in results.items():
        every = " ".join(f"{second:.2f}" for second in seconds)
        print(f"{name:10} {statistics.median(seconds):9.2f} {every:>24} {LIMITS[name]:8.1f}")
    for name, seconds in results.items():
        value = statistics.median(seconds)
        line = {"name": name, "value": round(value, 3), "unit": "s", "ratio_to": "limit", "ratio": value / LIMITS[name]}
        print(json.dumps(line))


if __name__ == "__main__":
    main()
