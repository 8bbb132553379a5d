"""A live check: the registry can be asked."""

from bandstand.discovery.active import active_registry

__all__ = ["RegistryTrouble", "check_registry"]


class RegistryTrouble(Exception):
    """The list of instances may be old."""


def check_registry() -> None:
    """Look whether the registry is in trouble. Calls go on by the last good list, so this is no need for traffic.

    Raises:
        RegistryTrouble: it can't be asked; the text says why.
    """
    if trouble := active_registry().trouble():
        raise RegistryTrouble(trouble)
