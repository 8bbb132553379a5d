"""Who may talk to whom: the gateway to services, a service to those that it calls, and all of them to their stores."""

from collections.abc import Iterable, Iterator

from bandstand.workspace.export.deployment import (
    ENVOY_STATUS_PORT,
    GATEWAY_PORT,
    KONG_STATUS_PORT,
    WEB_PORT,
    WORKER_PORT,
)
from bandstand.workspace.export.kubernetes.objects import Json, labels, named, selector
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["GATEWAY", "callees", "network_policies"]

GATEWAY = "gateway"

_POSTGRES, _REDIS, _SMTP = (5432,), (6379,), (25, 465, 587)
_STATUS = {"kong": KONG_STATUS_PORT, "envoy": ENVOY_STATUS_PORT}
_BROKER = {"rabbitmq": (5671, 5672), "nats": (4222,)}


def network_policies(workspace: Workspace) -> Iterator[Json]:
    """Yield the policies, beginning with the one that closes everything."""
    yield _closed(workspace)
    yield _names(workspace)
    yield _gateway(workspace)
    for service in workspace.services:
        yield _web(workspace, service)
        if service.worker:
            yield _worker(workspace, service)
        yield _migration(workspace, service)
    yield _topology(workspace)


def _topology(workspace: Workspace) -> Json:
    """Return the policy of the job that declares what services share at the broker."""
    spec = {
        "podSelector": {"matchLabels": selector(workspace, workspace.services[0].name, "topology")},
        "policyTypes": ["Egress"],
        "egress": [_to_stores(workspace, _BROKER[workspace.production.broker])],
    }
    return _policy(workspace, f"{workspace.name}-topology", spec)


def _closed(workspace: Workspace) -> Json:
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return _policy(workspace, "default-deny", everything)


def _names(workspace: Workspace) -> Json:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [dns], "ports": ports}]}
    return _policy(workspace, "allow-dns", spec)


def _gateway(workspace: Workspace) -> Json:
    """From wherever the cluster's entry is, to every service that has routes."""
    routed = [service.name for service in workspace.services if service.routes]
    spec = {
        "podSelector": {"matchLabels": selector(workspace, GATEWAY, GATEWAY)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": _ports(GATEWAY_PORT)}, _scraped(_STATUS[workspace.production.gateway])],
        "egress": [_to_web(workspace, name) for name in routed],
    }
    return _policy(workspace, GATEWAY, spec)


def _web(workspace: Workspace, service: Service) -> Json:
    callers = [
        _pods(workspace, caller.name, component)
        for caller in workspace.services
        if service.name in callees(workspace, caller)
        for component in components(caller)
    ]
    gateway = [_pods(workspace, GATEWAY, GATEWAY)] if service.routes else []
    sources = [*gateway, *callers]
    # Nobody named would be everybody.
    opened = [{"from": sources, "ports": _ports(WEB_PORT)}] if sources else []
    spec = {
        "podSelector": {"matchLabels": selector(workspace, service.name, "web")},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [*opened, _scraped(WEB_PORT)],
        "egress": _egress(workspace, service),
    }
    return _policy(workspace, service.name, spec)


def _worker(workspace: Workspace, service: Service) -> Json:
    spec = {
        "podSelector": {"matchLabels": selector(workspace, service.name, "worker")},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [_scraped(WORKER_PORT)],
        "egress": _egress(workspace, service),
    }
    return _policy(workspace, f"{service.name}-worker", spec)


def _migration(workspace: Workspace, service: Service) -> Json:
    spec = {
        "podSelector": {"matchLabels": selector(workspace, service.name, "migrate")},
        "policyTypes": ["Egress"],
        "egress": [_to_stores(workspace, _POSTGRES)],
    }
    return _policy(workspace, f"{service.name}-migrate", spec)


def components(service: Service) -> tuple[str, ...]:
    """Return the kinds of processes of ``service`` that call others."""
    return ("web", "worker") if service.worker else ("web",)


def callees(workspace: Workspace, service: Service) -> tuple[str, ...]:
    """Return whom ``service`` may reach: those that it calls, and the one whose public keys verify user tokens."""
    issuer = workspace.token_issuer
    keys = (issuer.name,) if issuer and issuer.name not in (service.name, *service.calls) else ()
    return (*service.calls, *keys)


def _egress(workspace: Workspace, service: Service) -> list[Json]:
    stores = (*_POSTGRES, *_REDIS, *_BROKER[workspace.production.broker], *_SMTP)
    calls = [_to_web(workspace, name) for name in callees(workspace, service)]
    return [*calls, _to_stores(workspace, stores)]


def _to_web(workspace: Workspace, name: str) -> Json:
    return {"to": [_pods(workspace, name, "web")], "ports": _ports(WEB_PORT)}


def _to_stores(workspace: Workspace, ports: Iterable[int]) -> Json:
    """Stores are in namespaces that carry the platform's label, or in networks outside of the cluster."""
    inside = {"namespaceSelector": {"matchLabels": {"data-stores-of": workspace.name}}}
    outside = [{"ipBlock": {"cidr": network}} for network in workspace.production.data_networks]
    return {"to": [inside, *outside], "ports": _ports(*ports)}


def _scraped(port: int) -> Json:
    """From namespaces that collect metrics, by a label that their owner gives them."""
    return {"from": [{"namespaceSelector": {"matchLabels": {"collects-metrics": "true"}}}], "ports": _ports(port)}


def _pods(workspace: Workspace, name: str, component: str) -> Json:
    return {"podSelector": {"matchLabels": selector(workspace, name, component)}}


def _ports(*ports: int) -> list[Json]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _policy(workspace: Workspace, name: str, spec: Json) -> Json:
    return named("networking.k8s.io/v1", "NetworkPolicy", name, labels(workspace, name, "network"), spec=spec)
