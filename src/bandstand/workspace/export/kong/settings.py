"""The settings of the Kong process without which the declarative configuration would not hold."""

from collections.abc import Mapping

from bandstand.workspace.export.deployment import GATEWAY_PORT, KONG_STATUS_PORT
from bandstand.workspace.export.gateway import RETRIED_STATUSES
from bandstand.workspace.export.kong.plugins import PLUGINS
from bandstand.workspace.manifest import Workspace

__all__ = ["kong_environment", "settings"]


def kong_environment(workspace: Workspace) -> Mapping[str, str]:
    """Return the settings as environment variables, for a container."""
    found = settings(workspace)
    return {f"KONG_{name.upper()}": value for name, (value, _) in found.items()}


def settings(workspace: Workspace) -> Mapping[str, tuple[str, str]]:
    """Return each setting by its name with its value and the reason for it (an empty one where it needs none)."""
    return {
        "database": ("off", ""),
        "declarative_config": ("/etc/kong/kong.yml", ""),
        "plugins": (",".join(PLUGINS), "No other is loaded."),
        "proxy_listen": (f"0.0.0.0:{GATEWAY_PORT} reuseport backlog=16384", ""),
        "admin_listen": ("off", "Nobody changes a gateway that is rendered from a file."),
        "status_listen": (f"0.0.0.0:{KONG_STATUS_PORT}", "Metrics under /metrics, for Prometheus; never for clients."),
        "anonymous_reports": ("off", ""),
        "headers": ("off", "Answers do not name the software."),
        "untrusted_lua": ("off", "The configuration holds no code."),
        **_proxies(workspace.gateway.trusted_proxies),
        **_bodies(workspace),
        **_headers(),
        **_repeating(workspace),
    }


def _proxies(networks: tuple[str, ...]) -> Mapping[str, tuple[str, str]]:
    if not networks:
        return {}
    return {
        "trusted_ips": (",".join(networks), "What these say of the address and scheme of a client is believed."),
        "real_ip_header": ("X-Forwarded-For", ""),
        "real_ip_recursive": (
            "on",
            "The client is the last address that is no proxy; what stands before it may be forged.",
        ),
    }


def _bodies(workspace: Workspace) -> Mapping[str, tuple[str, str]]:
    limit = str(workspace.gateway.max_body_bytes)
    return {
        "nginx_http_client_max_body_size": (
            limit,
            "nginx itself refuses what is larger, before the plugin looks at it.",
        ),
        "nginx_http_client_body_buffer_size": (limit, "A body stays in memory, where the plugin can measure it."),
        "nginx_proxy_client_header_timeout": ("5s", ""),
        "nginx_proxy_client_body_timeout": ("30s", ""),
    }


def _headers() -> Mapping[str, tuple[str, str]]:
    return {
        "nginx_proxy_underscores_in_headers": (
            "off",
            "WSGI reads X_Service_Token as X-Service-Token, which is stripped in its proper form alone.",
        ),
        "nginx_http_client_header_buffer_size": ("1k", ""),
        "nginx_http_large_client_header_buffers": ("2 8k", "At most 16 kB of headers."),
        "lua_max_req_headers": ("1000", "Internal headers are found also behind a hundred others."),
    }


def _repeating(workspace: Workspace) -> Mapping[str, tuple[str, str]]:
    conditions = ["error", "timeout", *(f"http_{status}" for status in RETRIED_STATUSES)]
    return {
        "nginx_proxy_proxy_next_upstream": (
            " ".join(conditions),
            "Never non_idempotent: a POST or PATCH is then repeated only where nothing had been sent.",
        ),
        "nginx_proxy_proxy_next_upstream_timeout": (
            f"{workspace.gateway.timeout:g}s",
            "After the time-out nothing is tried again; without this a slow service would have it three times.",
        ),
        "upstream_keepalive_pool_size": (
            "0",
            "nginx repeats a PUT or DELETE that a kept connection broke under, whatever the retries of its service.",
        ),
    }
