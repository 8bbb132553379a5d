"""What a process tells a registry of itself, and what a registry that can be told has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import msgspec

__all__ = ["Entry", "Registrar"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it wants to be found.

    ``host`` may be empty: the registry's agent runs on the same machine and knows under which address others reach it.
    ``probe`` is the URL of ``/health/ready/`` as the registry can ask for it, and ``name`` the ``Host`` to ask it for.
    """

    id: str
    service: str
    name: str
    host: str
    port: int
    probe: str
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}


class Registrar(ABC):
    """A registry that instances register with. Each method raises ``RegistryAway`` where it can't be asked."""

    host: str
    port: int
    tags: tuple[str, ...]

    @abstractmethod
    def register(self, entry: Entry, *, ready: bool) -> None:
        """Enter an instance, or enter it anew; ``ready`` is what it can be taken for until the first check."""

    @abstractmethod
    def renew(self, entry: Entry, *, ready: Callable[[], bool]) -> None:
        """Say that the instance is still here, and enter it again if the registry lost it."""

    @abstractmethod
    def withdraw(self, entry: Entry) -> None:
        """Let nobody be sent to the instance any more: it is leaving."""

    @abstractmethod
    def deregister(self, entry: Entry) -> None:
        """Forget the instance."""
