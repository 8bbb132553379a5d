"""What happens to every request on its way through the gateway, in this order.

1. before anything reads the request, the headers that services believe are taken out of it;
2. it gets a correlation id, its own one if that is well formed;
3. cross-origin requests are answered or let through;
4. it is counted against the limits of its client address;
5. its body is collected up to the limit;
6. it goes to the service.
"""

from collections.abc import Iterator
from typing import Final

from bandstand.conf import wire
from bandstand.workspace.export.envoy.routes import LIMIT_KEY, LIMIT_METADATA
from bandstand.workspace.export.envoy.values import Json, typed
from bandstand.workspace.export.gateway import CORRELATION_ID_FORM, stripped_headers
from bandstand.workspace.manifest import RateLimit, Workspace

__all__ = ["early_mutations", "http_filters"]

# Addresses that are counted at a time, for each limit; the one not seen for longest makes room.
MAX_ADDRESSES: Final = 10_000

_MAPPED_CLIENT: Final = r"(?i)(?:.*,)?\s*\[?(?:0*:){2,5}ffff:[0-9a-f.:]+\]?(?::[0-9]+)?\s*,[^,]*"
_DEFAULT_LIMIT: Final = "default"
_HEADER_MUTATION: Final = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def early_mutations(*kept: str) -> Json:
    """Take what only the platform may say out of the request, but for ``kept``, before Envoy itself looks at it."""
    mutation = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            mutation, mutations=[{"remove": name} for name in stripped_headers() if name not in kept]
        ),
    }


def http_filters(workspace: Workspace) -> list[Json]:
    """Return the chain of filters."""
    gateway = workspace.gateway
    return [
        {"name": "bandstand.headers", "typed_config": _headers(gateway.timeout)},
        {"name": "bandstand.retry_after", "typed_config": _retry_after()},
        {"name": "bandstand.correlation_id", "typed_config": _correlation_id()},
        {"name": "envoy.filters.http.cors", "typed_config": typed("envoy.extensions.filters.http.cors.v3.Cors")},
        {"name": "envoy.filters.http.local_ratelimit", "typed_config": _rate_limits(workspace)},
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": typed(
                "envoy.extensions.filters.http.buffer.v3.Buffer", max_request_bytes=gateway.max_body_bytes
            ),
        },
        {"name": "envoy.filters.http.router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")},
    ]


def _headers(timeout: float) -> Json:
    """Say how long the gateway waits; echo the correlation id in every answer, also in the gateway's own."""
    return typed(
        _HEADER_MUTATION,
        mutations={
            "request_mutations": [_set(wire.REQUEST_TIMEOUT_MS, str(round(timeout * 1000)))],
            "response_mutations": [
                _set(wire.CORRELATION_ID, f"%REQ({wire.CORRELATION_ID})%"),
                {"remove": "x-envoy-upstream-service-time"},
            ],
        },
    )


def _correlation_id() -> Json:
    """Set a fresh correlation id, unless the request has a well-formed one."""
    well_formed = {
        "input": {
            "name": "correlation_id",
            "typed_config": typed(
                "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=wire.CORRELATION_ID.lower()
            ),
        },
        "value_match": {"safe_regex": {"google_re2": {}, "regex": CORRELATION_ID_FORM}},
    }
    fresh = {"request_mutations": [_set(wire.CORRELATION_ID, "%REQ(X-REQUEST-ID)%")]}
    return _unless({"single_predicate": well_formed}, fresh)


def _retry_after() -> Json:
    """Tell whoever is refused for asking too often when to come back."""
    limited = {
        "input": {
            "name": "status",
            "typed_config": typed("envoy.type.matcher.v3.HttpResponseHeaderMatchInput", header_name=":status"),
        },
        "value_match": {"exact": "429"},
    }
    told = {"response_mutations": [_set("retry-after", "%RESP(X-RATELIMIT-RESET)%", action="ADD_IF_ABSENT")]}
    return _unless({"not_matcher": {"single_predicate": limited}}, told)


def _unless(predicate: Json, mutations: Json) -> Json:
    """Return a filter that changes headers, and that is skipped where ``predicate`` holds."""
    skip = {"name": "skip", "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")}
    return typed(
        "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        xds_matcher={"matcher_list": {"matchers": [{"predicate": predicate, "on_match": {"action": skip}}]}},
        extension_config={
            "name": "envoy.filters.http.header_mutation",
            "typed_config": typed(_HEADER_MUTATION, mutations=mutations),
        },
    )


def _rate_limits(workspace: Workspace) -> Json:
    """Token buckets for each client address, by minute and by hour; they fill continuously.

    An IPv6 address is counted by its /64 network, all of which one customer of a provider has.
    All stand in this filter, which outlives a change of routes; a route names its limit in its metadata.
    """
    return typed(
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rate_limit",
        # Of all clients together there is no limit; Envoy wants to be told so.
        token_bucket=_bucket(1_000_000, 1),
        filter_enabled=_always(),
        filter_enforced=_always(),
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        max_dynamic_descriptors=MAX_ADDRESSES,
        rate_limits=[
            {"actions": [*client, *_actions(window)]} for window in ("minute", "hour") for client in _clients()
        ],
        descriptors=list(_descriptors(workspace)),
    )


def _clients() -> Iterator[list[Json]]:
    """Yield how a client is told from others: by IPv4 address or IPv6 network; and by the whole of a mapped address.

    A load balancer may write an IPv4 address as ``::ffff:192.0.2.1``. Envoy takes that for one of IPv6, and all of
    them are in one /64 network. The last address in the header is the load balancer's own, which Envoy has added, and
    the one before it is the client's; what stands further left may be forged.
    """
    for kind, mapped, address in (
        ("network", False, {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}),
        ("mapped", True, {"remote_address": {}}),
    ):
        header = {"name": "x-forwarded-for", "string_match": {"safe_regex": {"regex": _MAPPED_CLIENT}}}
        match = {"descriptor_value": kind, "expect_match": mapped, "headers": [header]}
        yield [{"header_value_match": match}, address]


def _actions(window: str) -> list[Json]:
    limit = {
        "descriptor_key": LIMIT_KEY,
        "metadata_key": {"key": LIMIT_METADATA, "path": [{"key": LIMIT_KEY}]},
        "source": "ROUTE_ENTRY",
        "default_value": _DEFAULT_LIMIT,
    }
    return [
        {"metadata": limit},
        {"generic_key": {"descriptor_key": "window", "descriptor_value": window}},
    ]


def _descriptors(workspace: Workspace) -> Iterator[Json]:
    yield from _windows(_DEFAULT_LIMIT, workspace.gateway.rate_limit)
    for service in workspace.services:
        for route in service.routes:
            if route.rate_limit is not None:
                yield from _windows(route.path, route.rate_limit)


def _windows(name: str, limit: RateLimit) -> Iterator[Json]:
    for window, count, seconds in (("minute", limit.minute, 60), ("hour", limit.hour, 3600)):
        for kind, key in (("network", "masked_remote_address"), ("mapped", "remote_address")):
            # An address without a value stands for each address, with a bucket of its own.
            client = [{"key": "header_match", "value": kind}, {"key": key}]
            entries = [*client, {"key": LIMIT_KEY, "value": name}, {"key": "window", "value": window}]
            yield {"entries": entries, "token_bucket": _bucket(count, seconds)}


def _bucket(count: int, seconds: int) -> Json:
    return {"max_tokens": count, "tokens_per_fill": count, "fill_interval": f"{seconds}s"}


def _always() -> Json:
    return {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def _set(name: str, value: str, *, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    return {"append": {"header": {"key": name.lower(), "value": value}, "append_action": action}}
