"""What the dashboard shows, row by row: is all well, and if not, where to look."""

from typing import Final

import msgspec

__all__ = ["ROWS", "Panel", "Query"]


class Query(msgspec.Struct, frozen=True):
    """An expression of Prometheus, and how its lines are called."""

    expression: str
    legend: str


class Panel(msgspec.Struct, frozen=True):
    """One graph; ``unit`` is Grafana's word for it."""

    title: str
    unit: str
    queries: tuple[Query, ...]


def _panel(title: str, unit: str, *queries: Query) -> Panel:
    return Panel(title, unit, queries)


def _of(metric: str, more: str = "") -> str:
    """The samples of the services that are chosen in Grafana."""
    return f'{metric}{{service=~"$service"{more}}}'


def _rate(metric: str, by: str, legend: str) -> Query:
    return Query(f"sum by ({by}) (rate({_of(metric)}[5m]))", legend)


def _most(metric: str, by: str, legend: str) -> Query:
    return Query(f"max by ({by}) ({_of(metric)})", legend)


def _least(metric: str, by: str, legend: str) -> Query:
    return Query(f"min by ({by}) ({_of(metric)})", legend)


def _slowest(metric: str, by: str, legend: str) -> Query:
    """One in a hundred takes longer."""
    return Query(f"histogram_quantile(0.99, sum by ({by}, le) (rate({_of(f'{metric}_bucket')}[5m])))", legend)


_REQUESTS: Final = "bandstand_request_seconds"
_ANSWERS: Final = f"{_REQUESTS}_count"
_ALL: Final = f"sum by (service) (rate({_of(_ANSWERS)}[5m]))"
_BROKEN: Final = ', status=~"5.."'
_FAILING: Final = f"sum by (service) (rate({_of(_ANSWERS, _BROKEN)}[5m]))"
_PAIR: Final = "service, exported_service"  # who calls, and who is called

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Requests",
        (
            _panel("Requests", "reqps", Query(_ALL, "{{service}}")),
            _panel("Failing requests", "percentunit", Query(f"{_FAILING} / {_ALL}", "{{service}}")),
            _panel("Slowest in a hundred", "s", _slowest(_REQUESTS, "service", "{{service}}")),
            _panel("Slowest routes", "s", _slowest(_REQUESTS, "service, route", "{{service}} {{route}}")),
            _panel("Instances", "none", Query(f"sum by (service, process) ({_of('up')})", "{{service}} {{process}}")),
            _panel("Checks", "none", _least("bandstand_health_check", "service, check", "{{service}} {{check}}")),
        ),
    ),
    (
        "Calls between services",
        (
            _panel(
                "Slowest in a hundred",
                "s",
                _slowest("bandstand_client_seconds", _PAIR, "{{service}} to {{exported_service}}"),
            ),
            _panel(
                "Outcomes",
                "reqps",
                _rate(
                    "bandstand_client_seconds_count", "exported_service, outcome", "{{exported_service}} {{outcome}}"
                ),
            ),
            _panel(
                "Retries, and retries refused",
                "reqps",
                _rate("bandstand_client_retries_total", "exported_service", "{{exported_service}} retried"),
                _rate("bandstand_client_budget_exhausted_total", "exported_service", "{{exported_service}} refused"),
            ),
            _panel(
                "Circuits (0 closed, 1 half open, 2 open)",
                "none",
                _most("bandstand_client_breaker_state", _PAIR, "{{service}} to {{exported_service}}"),
            ),
            _panel(
                "Calls not tried, and fallbacks",
                "reqps",
                _rate("bandstand_client_rejected_total", "exported_service, reason", "{{exported_service}} {{reason}}"),
                _rate("bandstand_client_fallbacks_total", "exported_service", "{{exported_service}} fallback"),
            ),
            _panel(
                "Instances known, and left out",
                "none",
                _least("bandstand_discovery_instances", "exported_service", "{{exported_service}} known"),
                _most("bandstand_client_ejected", "exported_service", "{{exported_service}} left out"),
            ),
        ),
    ),
    (
        "Events",
        (
            _panel(
                "Published, relayed, attempts",
                "ops",
                _rate("bandstand_events_published_total", "service", "{{service}} published"),
                _rate("bandstand_events_relayed_total", "service", "{{service}} relayed"),
                _rate("bandstand_events_attempts_total", "service, outcome", "{{service}} {{outcome}}"),
            ),
            _panel(
                "Oldest event in the outbox",
                "s",
                _most("bandstand_outbox_oldest_age_seconds", "service", "{{service}}"),
            ),
            _panel(
                "In the outbox",
                "none",
                _most("bandstand_outbox_pending", "service", "{{service}} waiting"),
                _most("bandstand_outbox_parked", "service", "{{service}} refused"),
            ),
            _panel(
                "From publication to the end of the handler",
                "s",
                _slowest("bandstand_events_lag_seconds", "subscription", "{{subscription}}"),
            ),
            _panel(
                "Oldest delivery",
                "s",
                _most("bandstand_events_oldest_delivery_age_seconds", "service, subscription", "{{subscription}}"),
            ),
            _panel(
                "Dead letters",
                "none",
                _most("bandstand_events_dead_letters", "service, subscription", "{{service}} {{subscription}}"),
            ),
        ),
    ),
    (
        "Processes",
        (
            _panel(
                "Memory",
                "bytes",
                _most("process_resident_memory_bytes", "service, process", "{{service}} {{process}}"),
            ),
            _panel(
                "Processor",
                "percentunit",
                _rate("process_cpu_seconds_total", "service, process", "{{service}} {{process}}"),
            ),
            _panel(
                "Cache",
                "ops",
                _rate("bandstand_cache_operations_total", "service, result", "{{service}} {{result}}"),
            ),
        ),
    ),
)
