"""What to wake somebody for: clients that fail or wait, events that do not arrive, and what will be so soon."""

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from bandstand.workspace.manifest import Workspace

__all__ = ["alert_rules"]

Severity = Literal["page", "ticket"]


class _Alert(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    expression: str
    wait: str  # how long it must hold
    summary: str
    todo: str
    severity: Severity = "page"


_REQUESTS: tuple[_Alert, ...] = (
    _Alert(
        name="InstanceDown",
        expression='up{service!=""} == 0',
        wait="2m",
        summary="An instance of {{ $labels.service }} ({{ $labels.process }}) does not answer.",
        todo="Read its log and its last exit; the others serve meanwhile.",
        severity="ticket",
    ),
    _Alert(
        name="ServiceGone",
        expression='sum by (service, process) (up{service!=""}) == 0',
        wait="1m",
        summary="No {{ $labels.process }} process of {{ $labels.service }} answers.",
        todo="Look for a release or a migration that went wrong, and for its database.",
    ),
    _Alert(
        name="RequestsFail",
        expression=(
            'sum by (service) (rate(bandstand_request_seconds_count{status=~"5.."}[5m]))'
            " / sum by (service) (rate(bandstand_request_seconds_count[5m])) > 0.02"
        ),
        wait="5m",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.service }} fail.",
        todo="Find a failing request in the log by status, then all of its lines by correlation_id.",
    ),
    _Alert(
        name="RequestsWait",
        expression=("histogram_quantile(0.99, sum by (service, le) (rate(bandstand_request_seconds_bucket[5m]))) > 1"),
        wait="10m",
        summary="One request in a hundred to {{ $labels.service }} takes longer than {{ $value | humanizeDuration }}.",
        todo="Compare its routes on the dashboard, then its database and the services that it calls.",
    ),
    _Alert(
        name="CheckFails",
        expression='min by (service, process, check) (bandstand_health_check{service!=""}) == 0',
        wait="5m",
        summary="The check {{ $labels.check }} fails in {{ $labels.service }} ({{ $labels.process }}).",
        todo="The check names what can't be reached; the log of that process has the reason.",
        severity="ticket",
    ),
)

_CALLS: tuple[_Alert, ...] = (
    _Alert(
        name="CircuitOpen",
        # The label of the callee is the metric's own; Prometheus calls it exported_service beside the job's.
        expression="max by (service, exported_service) (bandstand_client_breaker_state) == 2",
        wait="1m",
        summary="{{ $labels.service }} has given up calling {{ $labels.exported_service }}.",
        todo="Look at the service that is called; its callers answer with fallbacks or 503 meanwhile.",
    ),
    _Alert(
        name="RetriesRefused",
        expression="sum by (service, exported_service) (rate(bandstand_client_budget_exhausted_total[5m])) > 0.1",
        wait="5m",
        summary="{{ $labels.service }} spends its whole budget of retries on {{ $labels.exported_service }}.",
        todo="Too many first attempts fail: look at the service that is called.",
        severity="ticket",
    ),
    _Alert(
        name="DiscoveryStale",
        expression="max by (service, exported_service) (bandstand_discovery_age_seconds) > 300",
        wait="5m",
        summary="{{ $labels.service }} has heard nothing of {{ $labels.exported_service }} for five minutes.",
        todo="Calls go on with the last good list. Look at Consul, DNS, or the file.",
        severity="ticket",
    ),
    _Alert(
        name="TokensRefused",
        expression="sum by (service, kind, reason) (rate(bandstand_tokens_refused_total[5m])) > 1",
        wait="10m",
        summary="{{ $labels.service }} refuses {{ $labels.kind }} tokens: {{ $labels.reason }}.",
        todo="After a rotation of keys: is the new key in every key set? Else somebody tries.",
        severity="ticket",
    ),
    _Alert(
        name="CacheGone",
        expression="min by (service) (bandstand_cache_available) == 0",
        wait="5m",
        summary="{{ $labels.service }} works without its cache.",
        todo="Requests are slower, none is wrong. Look at Redis before the databases feel it.",
        severity="ticket",
    ),
)

_EVENTS: tuple[_Alert, ...] = (
    _Alert(
        name="EventsStay",
        expression="max by (service) (bandstand_outbox_oldest_age_seconds) > 60",
        wait="2m",
        summary="An event of {{ $labels.service }} has waited {{ $value | humanizeDuration }} for the broker.",
        todo="None is lost. Is a worker running, and does the broker take messages? `bandstand events status` tells.",
    ),
    _Alert(
        name="EventsRefused",
        expression="max by (service) (bandstand_outbox_parked) > 0",
        wait="10m",
        summary="The broker refuses {{ $value }} event(s) of {{ $labels.service }}; those of the same key wait behind.",
        todo="The error of each is in `manage.py events status`; often nobody subscribes, or the event is too large.",
        severity="ticket",
    ),
    _Alert(
        name="EventsMissed",
        # A counter that appears has no increase yet; it begins anew with the worker.
        expression="max by (service, subscription) (bandstand_events_missed_total) > 0",
        wait="1m",
        summary="The broker dropped {{ $value }} event(s) of {{ $labels.subscription }} in {{ $labels.service }}.",
        todo="A limit of the stream is too low. Raise it, and publish them again from where they came.",
    ),
    _Alert(
        name="EventsLate",
        expression="max by (service, subscription) (bandstand_events_oldest_delivery_age_seconds) > 300",
        wait="5m",
        summary="{{ $labels.subscription }} of {{ $labels.service }} is {{ $value | humanizeDuration }} behind.",
        todo="Handlers are too slow or fail and are tried again: give it more workers, or read its log.",
    ),
    _Alert(
        name="DeadLetters",
        expression="max by (service, subscription) (bandstand_events_dead_letters) > 0",
        wait="0m",
        summary="{{ $value }} event(s) could not be handled by {{ $labels.subscription }} of {{ $labels.service }}.",
        todo="`bandstand events dead list` has the error of each; mend the cause, then replay.",
        severity="ticket",
    ),
)

_CLIENTS_GET_503: Final = "Clients get 503 for its paths. Look at its readiness: /health/ready/."

_KONG: tuple[_Alert, ...] = (
    _Alert(
        name="GatewayFindsNobody",
        expression='sum by (upstream) (kong_upstream_target_health{state="healthy"}) == 0',
        summary="The gateway has no healthy instance of {{ $labels.upstream }}.",
        wait="1m",
        todo=_CLIENTS_GET_503,
    ),
)

_ENVOY: tuple[_Alert, ...] = (
    _Alert(
        name="GatewayFindsNobody",
        expression='min by (envoy_cluster_name) (envoy_cluster_membership_healthy{envoy_cluster_name!="admin"}) == 0',
        summary="The gateway has no healthy instance of {{ $labels.envoy_cluster_name }}.",
        wait="1m",
        todo=_CLIENTS_GET_503,
    ),
    _Alert(
        name="GatewayRefuses",
        expression="sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_pending_overflow[5m])) > 0",
        wait="5m",
        summary="The gateway refuses requests to {{ $labels.envoy_cluster_name }}: too many are under way.",
        todo="Add instances, or find what makes it slow.",
    ),
)


def alert_rules(workspace: Workspace) -> dict[str, Any]:
    """Return the rules in groups."""
    gateway = _ENVOY if workspace.production.gateway == "envoy" else _KONG
    groups = {"requests": _REQUESTS, "calls": _CALLS, "events": _EVENTS, "gateway": gateway}
    return {"groups": [{"name": name, "rules": list(_rules(alerts))} for name, alerts in groups.items()]}


def _rules(alerts: tuple[_Alert, ...]) -> Iterator[dict[str, Any]]:
    for alert in alerts:
        yield {
            "alert": alert.name,
            "expr": alert.expression,
            "for": alert.wait,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "description": alert.todo},
        }
