"""The rules that no single key can hold: between services, between routes, and inside URLs and origins."""

from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Final
from urllib.parse import urlsplit

from bandstand.workspace.manifest.model import EMBEDDED, SYSTEM, RateLimit, is_folder
from bandstand.workspace.manifest.paths import aliases, canonical, overlap, path_fault
from bandstand.workspace.manifest.positions import Steps
from bandstand.workspace.manifest.shape import Fault, dotted, shown, suggestion
from bandstand.workspace.manifest.tables import Manifest, RateLimitTable, ServiceTable

__all__ = ["faults"]

RESERVED_NAMES: Final = frozenset({
    "gateway", "envoy", "kong", "postgres", "databases", "redis", "valkey", "nats", "nats-volume",
    "broker-topology", "rabbitmq", "events", "consul", "consul-tokens", "localhost",
})  # fmt: skip
# A service's other containers, processes and registrations are called so, after its own name.
_CONTAINER_SUFFIXES: Final = ("-web", "-worker", "-migrate")
_SCHEMES: Final = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss"),
    "nats": ("nats", "tls"),
    "rabbitmq": ("amqp", "amqps"),
}
# Where the server comes from, besides a URL.
_PLACES: Final = {
    "postgres": (EMBEDDED, SYSTEM),
    "redis": (EMBEDDED,),
    "nats": (EMBEDDED,),
    "rabbitmq": (SYSTEM,),
}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def faults(manifest: Manifest, names: Collection[str]) -> Iterator[Fault]:
    """Yield what is wrong in a manifest whose single values are sound.

    ``names`` are those of all services in the file, also of the ones that are not sound.
    """
    if not manifest.platform.name:
        yield Fault(("platform", "name"), 'is missing; write [platform] and below it name = "shop".')
    if not names:
        yield Fault(("services",), "is missing; write a table for each service, such as [services.user-service].")
    yield from _gateway_faults(manifest)
    yield from _server_faults(manifest)
    yield from _production_faults(manifest)
    yield from _kong_faults(manifest)
    yield from _issuer_faults(manifest)
    for name, service in manifest.services.items():
        yield from _service_faults(name, service, manifest.gateway.rate_limit, names)
        yield from _call_faults(name, service, names)
        yield from _policy_faults(name, service)
    yield from _overlaps(manifest)


def _gateway_faults(manifest: Manifest) -> Iterator[Fault]:
    gateway = manifest.gateway
    if not _is_address(gateway.host):
        text = 'write an IP address: "127.0.0.1" for this machine alone, "0.0.0.0" for every network.'
        yield Fault(("gateway", "host"), f"is {shown(gateway.host)}; {text}")
    for index, origin in enumerate(gateway.cors_origins):
        if text := _origin_fault(origin):
            yield Fault(("gateway", "cors_origins", index), f"is {shown(origin)}; {text}")
    for index, network in enumerate(gateway.trusted_proxies):
        if text := _proxies_fault(network):
            yield Fault(("gateway", "trusted_proxies", index), f"is {shown(network)}; {text}")
    yield from _limit_faults(gateway.rate_limit, RateLimitTable(), ("gateway", "rate_limit"))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _proxies_fault(network: str) -> str:
    if not _is_network(network):
        return 'write a network, such as "10.20.0.0/16" or "10.20.0.7/32".'
    if ip_network(network).prefixlen == 0:
        return "then every client may say where it comes from; write the networks of your own proxies alone."
    return ""


def _origin_fault(origin: str) -> str:
    if "*" in origin:
        return 'an open gateway lets every page act for your users; name each origin, such as "https://shop.example".'
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return 'it is not a URL; write scheme, host and port, such as "http://localhost:3000".'
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        return 'it is not an origin; write scheme, host and port, such as "http://localhost:3000".'
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")
    return "" if origin == bare else f'a browser sends an origin without path and in small letters; write "{bare}".'


def _limit_faults(limit: RateLimitTable, default: RateLimitTable, steps: Steps) -> Iterator[Fault]:
    if not limit.minute and not limit.hour:
        return
    minute = limit.minute or default.minute or RateLimit().minute
    hour = limit.hour or default.hour or RateLimit().hour
    if hour < minute:
        text = f"allows {minute} requests a minute but only {hour} an hour; write an hour of at least {minute}."
        yield Fault(steps, text)


def _server_faults(manifest: Manifest) -> Iterator[Fault]:
    for kind, schemes in _SCHEMES.items():
        place = getattr(manifest.servers, kind)
        if place not in {"", *_PLACES[kind]} and not _is_url(place, schemes) and not _is_postgres_folder(kind, place):
            yield Fault(("servers", kind), f"is {shown(place)}; {_instead(kind, place)}")
    if manifest.servers.nats and manifest.servers.rabbitmq:
        yield Fault(("servers", "rabbitmq"), "names a second broker beside servers.nats; remove one of the two.")


def _is_postgres_folder(kind: str, place: str) -> bool:
    return kind == "postgres" and is_folder(place)


def _instead(kind: str, place: str) -> str:
    """Return what to write in place of ``place``."""
    if kind == "rabbitmq" and place == EMBEDDED:
        return (
            f'RabbitMQ comes in no wheel, so write "{SYSTEM}" for the one that is installed on this machine, or a URL.'
        )
    if kind == "postgres" and place.startswith((".", "~")):
        return 'write the folder of the programs as an absolute path, such as "/usr/lib/postgresql/16/bin".'
    words = ", ".join(f'"{word}"' for word in _PLACES[kind])
    folder = ', a folder such as "/usr/lib/postgresql/16/bin"' if kind == "postgres" else ""
    return f'write {words}{folder} or a URL such as "{_SCHEMES[kind][0]}://user:password@host".'


def _is_url(text: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _production_faults(manifest: Manifest) -> Iterator[Fault]:
    production = manifest.production
    if production.max_replicas < production.replicas:
        text = f"is {production.max_replicas}, less than replicas; write at least {production.replicas}."
        yield Fault(("production", "max_replicas"), text)
    if production.cpu_limit < production.cpu:
        text = f"is {production.cpu_limit:g}, less than cpu; write at least {production.cpu:g}."
        yield Fault(("production", "cpu_limit"), text)
    for name, service in manifest.services.items():
        cpu, limit = service.cpu or production.cpu, service.cpu_limit or production.cpu_limit
        if limit < cpu and (service.cpu or service.cpu_limit):
            key = "cpu_limit" if service.cpu_limit else "cpu"
            text = f"leads to a cpu_limit of {limit:g}, less than its cpu of {cpu:g}; write both for this service."
            yield Fault(("services", name, key), text)
    for index, network in enumerate(production.data_networks):
        if not _is_network(network):
            text = f'is {shown(network)}; write a network such as "10.20.0.0/16".'
            yield Fault(("production", "data_networks", index), text)
    for index, network in enumerate(production.gateway_networks):
        if text := _proxies_fault(network):
            yield Fault(("production", "gateway_networks", index), f"is {shown(network)}; {text}")
    if production.compose_subnet and not _is_subnet(production.compose_subnet):
        text = 'write a network of IPv4 with room for all containers, such as "10.213.16.0/20"; /28 is the smallest.'
        yield Fault(("production", "compose_subnet"), f"is {shown(production.compose_subnet)}; {text}")


def _kong_faults(manifest: Manifest) -> Iterator[Fault]:
    kong, steps = manifest.production.kong, ("production", "kong")
    yield from _counters_faults(kong.counters, (*steps, "counters"))
    paths = {canonical(route.path) for service in manifest.services.values() for route in service.routes}
    for index, path in enumerate(kong.token_routes):
        if canonical(path) not in paths:
            hint = suggestion(path, paths, "write the path of a route.")
            yield Fault((*steps, "token_routes", index), f"is {shown(path)}, which no route has; {hint}")
    for index, key in enumerate(kong.user_keys):
        for name in ("kid", "x"):
            if not getattr(key, name):
                yield Fault((*steps, "user_keys", index, name), "is missing; copy it from /.well-known/jwks.json.")
    if bool(kong.token_routes) != bool(kong.user_keys):
        wanted = "user_keys" if kong.token_routes else "token_routes"
        yield Fault((*steps, wanted), "is missing; tokens are required with routes and keys, or not at all.")


def _counters_faults(url: str, steps: Steps) -> Iterator[Fault]:
    if url == "local":
        return
    if not _is_url(url, ("redis", "rediss")):  # not shown: what is wrong may be a password
        yield Fault(steps, 'is no URL of a Redis; write "local" or one such as "redis://default@redis:6379".')
    elif urlsplit(url).password is not None:
        yield Fault(steps, "holds a password; leave it out, Kong reads it from the variable REDIS_PASSWORD.")


def _is_subnet(text: str) -> bool:
    return _is_network(text) and ip_network(text).version == 4 and 8 <= ip_network(text).prefixlen <= 28


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return "/" in text


def _issuer_faults(manifest: Manifest) -> Iterator[Fault]:
    issuers = [name for name, service in manifest.services.items() if service.issues_user_tokens]
    for name in issuers[1:]:
        text = f"is true, but {issuers[0]} issues them already; let one service do it."
        yield Fault(("services", name, "issues_user_tokens"), text)


def _service_faults(name: str, service: ServiceTable, limit: RateLimitTable, names: Collection[str]) -> Iterator[Fault]:
    steps: Steps = ("services", name)
    if name in RESERVED_NAMES:
        yield Fault(steps, f'has the name of a part of the platform; write another, such as "{name}-service".')
    for suffix in _CONTAINER_SUFFIXES:
        if (other := name.removesuffix(suffix)) != name and other in names:
            yield Fault(steps, f"has the name of a container of {other}; write another.")
    for index, route in enumerate(service.routes):
        place = (*steps, "routes", index)
        if not route.path:
            yield Fault((*place, "path"), 'is missing; write path = "/api/v1/users" or the like.')
        elif text := path_fault(route.path):
            yield Fault((*place, "path"), f"is {shown(route.path)}, {text}")
        yield from _limit_faults(route.rate_limit, limit, (*place, "rate_limit"))


def _call_faults(name: str, service: ServiceTable, names: Collection[str]) -> Iterator[Fault]:
    for index, callee in enumerate(service.calls):
        steps = ("services", name, "calls", index)
        if callee == name:
            yield Fault(steps, f"names the service itself; remove {shown(callee)}.")
        elif callee not in names:
            others = [other for other in names if other != name]
            hint = suggestion(callee, others, _named(others))
            yield Fault(steps, f"names {shown(callee)}, which is no service; {hint}")
        elif callee in service.calls[:index]:
            yield Fault(steps, f"names {shown(callee)} twice; remove one.")


def _policy_faults(name: str, service: ServiceTable) -> Iterator[Fault]:
    for callee in service.policies:
        if callee not in service.calls:
            hint = suggestion(callee, service.calls, f"add {shown(callee)} to its calls, or remove this.")
            yield Fault(("services", name, "policies", callee), f"is about a service that {name} does not call; {hint}")


def _named(others: list[str]) -> str:
    match others:
        case []:
            return "there is no other service; remove it."
        case [only]:
            return f"the only other service is {only}."
        case _:
            return f"the services are {', '.join(others)}."


def _overlaps(manifest: Manifest) -> Iterator[Fault]:
    """Each path leads to one service: of two routes that meet, the later one is at fault, and once."""
    told: set[Steps] = set()
    for (path, owner, steps), (other, other_owner, place) in combinations(_public_paths(manifest), 2):
        if steps == place or place in told or not overlap(path, other):
            continue
        if path == other:
            yield Fault((*place, "path"), f"leads {other} here, but {dotted(steps)} has it already; remove one.")
        elif owner != other_owner:
            text = f"leads {other} here, which meets {path} of {owner}; give each service paths of its own."
            yield Fault((*place, "path"), text)
        else:
            continue
        told.add(place)


def _public_paths(manifest: Manifest) -> list[tuple[str, str, Steps]]:
    """Return each path that a route opens with its service and its place in the file, in the order of the file."""
    written: list[tuple[str, str, Steps]] = [
        (canonical(route.path), name, ("services", name, "routes", index))
        for name, service in manifest.services.items()
        for index, route in enumerate(service.routes)
        if route.path and not path_fault(route.path)
    ]
    alias = aliases(path for path, _, _ in written)
    return [
        (public, name, steps)
        for path, name, steps in written
        for public in ((path, alias[path]) if path in alias else (path,))
    ]
