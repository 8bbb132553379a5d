"""The network between the gateway and the services, with an address for the gateway that no other container gets.

Services believe what one address says of a client's. Docker would give the gateway any free address of the network, so
it has a fixed one, in the half of the network from which Docker gives out none.
"""

import hashlib
from ipaddress import IPv4Network

from bandstand.workspace.export.compose.hardening import Json
from bandstand.workspace.manifest import Workspace

__all__ = ["gateway_address", "services_network"]


def services_network(workspace: Workspace) -> Json:
    """Return the network: the machine has its first address, the gateway its second, all others the upper half."""
    network = _subnet(workspace)
    _, dynamic = network.subnets(prefixlen_diff=1)
    configuration = {"subnet": str(network), "ip_range": str(dynamic), "gateway": str(network[1])}
    return {"ipam": {"config": [configuration]}}


def gateway_address(workspace: Workspace) -> str:
    """Return the address that the gateway has in that network."""
    return str(_subnet(workspace)[2])


def _subnet(workspace: Workspace) -> IPv4Network:
    """Return what the manifest names, else a network that follows from the platform's name.

    One of 1,024 in 10.192.0.0/10, none of which Docker gives out by itself, so that two platforms on one machine have
    two.
    """
    if workspace.production.compose_subnet:
        return IPv4Network(workspace.production.compose_subnet)
    number = int.from_bytes(hashlib.sha256(workspace.name.encode()).digest()[:2], "big") % 1024
    return IPv4Network((int(IPv4Network("10.192.0.0/10")[0]) + number * 4096, 20))
