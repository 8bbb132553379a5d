"""A live check: the registry can be asked, and told."""

from bandstand.discovery.active import active_registry
from bandstand.discovery.registration import registration_trouble

__all__ = ["RegistryTrouble", "check_registry"]


class RegistryTrouble(Exception):
    """The list of instances may be old, or this process not in it."""


def check_registry() -> None:
    """Look whether the registry is in trouble. Calls go on by the last good list, so this is no need for traffic.

    Raises:
        RegistryTrouble: it can't be asked; the text says why.
    """
    if trouble := active_registry().trouble() or registration_trouble():
        raise RegistryTrouble(trouble)
