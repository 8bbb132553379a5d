"""A live check: the registry can be asked, and told."""

from bandstand.discovery.active import active_registry
from bandstand.discovery.registration import registration_trouble
from bandstand.health import OutOfDate

__all__ = ["OldList", "RegistryTrouble", "check_registry"]


class RegistryTrouble(Exception):
    """This process may not be in the registry, or the list of instances may be old."""


class OldList(OutOfDate, RegistryTrouble):
    """The list of instances was good ``age`` seconds ago."""


def check_registry() -> None:
    """Look whether the registry is in trouble. Calls go on by the last good list, so this is no need for traffic.

    Raises:
        RegistryTrouble: it can't be asked, or told; the text says why.
    """
    registry, untold = active_registry(), registration_trouble()
    if trouble := registry.trouble():
        raise OldList(trouble, age=registry.age())
    if untold:
        raise RegistryTrouble(untold)
