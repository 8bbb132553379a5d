"""How many requests have to be repeated while every process of every service is replaced.

The shop of this repository, started with `bandstand up`; four people who look around and buy through the gateway, and
`bandstand restart` again and again until 10,000 requests were answered. A request counts when it was not answered with
success at the first time. The tests hold what follows for clients that ask again when they are told to: no failure, and
no order doubled or lost. Takes about ten minutes.
"""

import sys
import tempfile
from pathlib import Path

from report import Report, at_most, parser

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.platform.conftest import copy_shop, run, running
from tests.platform.load import Load, everything

REQUESTS = 10_000
QUICK = 100


def without_limits(folder: Path) -> Path:
    """Raise the limits of one address, from which all requests come."""
    manifest = folder / "bandstand.toml"
    source = manifest.read_text()
    manifest.write_text(source.replace("minute = 100", "minute = 100000").replace("hour = 1000 ", "hour = 100000 "))
    return folder


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    wanted, rounds = QUICK if report.quick else REQUESTS, 0
    with tempfile.TemporaryDirectory() as name, running(without_limits(copy_shop(Path(name)))) as shop:
        product = shop.client.get("/api/products/?in_stock=true").body["results"][0]["id"]
        with Load(shop, everything(product)) as load:
            while rounds == 0 or load.total < wanted:
                restarted = run(shop.folder, "restart", "--json")
                if restarted.returncode:
                    sys.exit(restarted.stdout + restarted.stderr)
                rounds += 1
    told = f"of {load.total} in {rounds} rounds {dict(load.repeated)}"
    report.add("restart.repeated", load.repeated.total(), "requests", target=at_most(0), note=told)
    report.add("restart.failed", sum(load.failed.values()), "requests", target=at_most(0), note=str(load.failed))
    report.end()


if __name__ == "__main__":
    main()
