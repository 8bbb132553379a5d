"""The answers of all checks together."""

from threading import Lock
from typing import Final, Literal

import msgspec

from bandstand.health.probe import Probe
from bandstand.health.registry import Check, registered

__all__ = ["Report", "report"]

Status = Literal["healthy", "degraded", "unhealthy"]

_probes: Final[dict[str, Probe]] = {}
_lock: Final = Lock()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``checks``: by name, whether it passes. ``ready``: whether all that are needed for traffic do."""

    status: Status
    ready: bool
    checks: dict[str, bool]


def report(*, ready_only: bool = False) -> Report:
    """Ask all checks at once (or those that readiness needs) and wait for their answers; never raises."""
    probes = [_probe(check) for check in registered() if check.ready or not ready_only]
    outcomes = [probe.begin() for probe in probes]
    checks = {probe.check.name: probe.passes(outcome) for probe, outcome in zip(probes, outcomes, strict=True)}
    ready = all(checks[probe.check.name] for probe in probes if probe.check.ready)
    if not ready:
        return Report(status="unhealthy", ready=False, checks=checks)
    return Report(status="healthy" if all(checks.values()) else "degraded", ready=True, checks=checks)


def _probe(check: Check) -> Probe:
    with _lock:
        probe = _probes.get(check.name)
        if probe is None or probe.check is not check:
            probe = _probes[check.name] = Probe(check)
        return probe
