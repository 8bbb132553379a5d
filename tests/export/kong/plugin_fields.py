"""The fields that each plugin of Kong documents; what is nested has a mapping of its own."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Fields: TypeAlias = Mapping[str, "Fields | None"]


def _plain(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


_TRANSFORMED: Final = _plain("body", "headers", "querystring")
_LIMITS: Final = _plain(
    *("second", "minute", "hour", "day", "month", "year", "limit_by", "header_name", "path", "policy"),
    *("fault_tolerant", "hide_client_headers"),
)
_REDIS: Final = _plain(
    *("host", "port", "timeout", "username", "password", "database", "ssl", "ssl_verify", "server_name")
)

FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "correlation-id": _plain("header_name", "generator", "echo_downstream"),
    "cors": _plain(
        "origins",
        "headers",
        "exposed_headers",
        "methods",
        "max_age",
        "credentials",
        "preflight_continue",
        "private_network",
    ),
    "request-size-limiting": _plain("allowed_payload_size", "size_unit", "require_content_length"),
    "request-termination": _plain("status_code", "message", "content_type", "body", "echo", "trigger"),
    "request-transformer": {
        "http_method": None,
        **dict.fromkeys(("remove", "rename", "add", "append"), _TRANSFORMED),
        "replace": {**_TRANSFORMED, "uri": None},
    },
    "response-transformer": dict.fromkeys(("remove", "rename", "replace", "add", "append"), _TRANSFORMED),
    "jwt": _plain(
        *("uri_param_names", "cookie_names", "key_claim_name", "secret_is_base64", "claims_to_verify", "anonymous"),
        *("run_on_preflight", "maximum_expiration", "header_names", "realm"),
    ),
    "prometheus": _plain(
        *("per_consumer", "status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")
    ),
    "rate-limiting": {**_LIMITS, "redis": _REDIS, **_plain("error_code", "error_message", "sync_rate")},
}


def unknown_fields(config: Mapping[str, Any], known: Fields, place: str) -> list[str]:
    """Return the places in ``config`` that the plugin does not document."""
    found = []
    for name, value in config.items():
        if name not in known:
            found.append(f"{place}.{name}")
        elif (below := known[name]) is not None:
            found += unknown_fields(value, below, f"{place}.{name}")
    return found
