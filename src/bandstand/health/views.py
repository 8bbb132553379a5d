"""The views for probes. Answers hold words and ages only: a reason would tell strangers of hosts and accounts."""

from datetime import UTC, datetime

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bandstand.conf import get_settings
from bandstand.health.drain import turns_away
from bandstand.health.reports import Report, report
from bandstand.health.warming import is_warm

__all__ = ["health", "live", "ready"]


@never_cache
@require_safe
def health(_request: HttpRequest) -> JsonResponse:
    """``/health/``: everything. 503 only when the service can't work; degraded is 200."""
    found = report()
    settings = get_settings()
    return _answer(
        found,
        status=found.status,
        service=settings.service,
        version=settings.version,
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


@never_cache
@require_safe
def live(_request: HttpRequest) -> JsonResponse:
    """``/health/live/``: the process answers. It asks nothing else, since a restart mends nothing else."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def ready(_request: HttpRequest) -> JsonResponse:
    """``/health/ready/``: whether to send requests here. 503 when a need fails, while warming up, and when leaving."""
    if turns_away():
        return JsonResponse({"status": "draining"}, status=503)
    found = report(ready_only=True)
    if found.ready and not is_warm(get_settings().health.timeout):
        return JsonResponse({"status": "warming up"}, status=503)
    return _answer(found, status="ready" if found.ready else "not ready")


def _answer(found: Report, **fields: str) -> JsonResponse:
    checks = {name: "ok" if passes else "failing" for name, passes in found.checks.items()}
    ages = {"ages": {name: round(age, 1) for name, age in found.ages.items()}} if found.ages else {}
    return JsonResponse({**fields, "checks": checks, **ages}, status=200 if found.ready else 503)
