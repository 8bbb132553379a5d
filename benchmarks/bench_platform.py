"""The memory of the whole shop once `bandstand up` has started it, and its processor time while it idles.

Memory is the proportional set size (PSS) of every process, which counts a page that several share once, by kind of
process. The processor time is that of all of them while nothing is asked, in windows of ten seconds after a rest. Takes
about two minutes.
"""

import time

from platform_rig import Platform, shop
from report import Report, at_most, parser

REST, WINDOW, WINDOWS = 15.0, 10.0, 6
MEMORY, IDLE = 1000.0, 5.0  # MB; per cent of a core


def watch(platform: Platform, *, window: float, windows: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return in each window the megabytes, and the share of a core in per cent, by kind."""
    memory, shares = [], []
    before, begun = platform.seconds(), time.monotonic()
    for _ in range(windows):
        time.sleep(window)
        used, now = platform.seconds(), time.monotonic()
        shares.append({kind: 100 * (used[kind] - before[kind]) / (now - begun) for kind in used})
        before, begun = used, now
        memory.append(platform.memory())
    return memory, shares


def add(report: Report, name: str, found: list[dict[str, float]], unit: str, limit: float) -> None:
    """Report each kind, and all of them together."""
    for kind in found[0]:
        report.add(f"{name}.{kind}", [each[kind] for each in found], unit)
    report.add(f"{name}.all", [sum(each.values()) for each in found], unit, target=at_most(limit))


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with shop() as started:
        time.sleep(1 if report.quick else REST)
        platform = Platform(started.folder)
        window, windows = (1.0, 2) if report.quick else (WINDOW, WINDOWS)
        memory, shares = watch(platform, window=window, windows=windows)
        processes = sum(len(each) for each in platform.kinds().values())
    report.add("platform.processes", processes, "")
    add(report, "platform.memory", memory, "MB", MEMORY)
    add(report, "platform.idle", shares, "% of core", IDLE)
    report.end()


if __name__ == "__main__":
    main()
