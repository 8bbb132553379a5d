"""The answers of all checks together."""

from threading import Lock
from typing import Final, Literal

import msgspec

from bandstand.health.probe import Probe
from bandstand.health.registry import Check, OutOfDate, registered

__all__ = ["Report", "report"]

Status = Literal["healthy", "degraded", "unhealthy"]

_probes: Final[dict[str, Probe]] = {}
_lock: Final = Lock()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``checks``: by name, whether it passes. ``ready``: whether all that are needed for traffic do.

    ``ages``: of those that fail, how many seconds old what is known is, where work goes on with that.
    """

    status: Status
    ready: bool
    checks: dict[str, bool]
    ages: dict[str, float]


def report(*, ready_only: bool = False) -> Report:
    """Ask all checks at once (or those that readiness needs) and wait for their answers; never raises."""
    probes = [_probe(check) for check in registered() if check.ready or not ready_only]
    outcomes = [probe.begin() for probe in probes]
    checks = {probe.check.name: probe.passes(outcome) for probe, outcome in zip(probes, outcomes, strict=True)}
    errors = {probe.check.name: outcome.error for probe, outcome in zip(probes, outcomes, strict=True)}
    ages = {name: error.age for name, error in errors.items() if isinstance(error, OutOfDate)}
    ready = all(checks[probe.check.name] for probe in probes if probe.check.ready)
    well: Status = "healthy" if all(checks.values()) else "degraded"
    return Report(status=well if ready else "unhealthy", ready=ready, checks=checks, ages=ages)


def _probe(check: Check) -> Probe:
    with _lock:
        probe = _probes.get(check.name)
        if probe is None or probe.check is not check:
            probe = _probes[check.name] = Probe(check)
        return probe
