"""The ground of registries that are asked over the network: one watch for each name that somebody calls."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial

from bandstand.discovery.base import Instance, Registry
from bandstand.discovery.metrics import measure
from bandstand.discovery.watching import Seen, Watch

__all__ = ["Instances", "WatchedRegistry", "seen"]

Instances = tuple[Instance, ...]


class WatchedRegistry(Registry):
    """A backend says how to look at one name; the answers are kept here, by a thread for each name asked for."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch[Instances]] = {}

    @abstractmethod
    def look_at(self, service: str, mark: str, /) -> Seen[Instances]:
        """Ask the registry for one service; ``mark`` is that of the last answer. May take long: a thread waits.

        Raises:
            RegistryAway: it could not be asked.
        """

    def look_up(self, service: str) -> Instances | None:
        watch = self._watch(service)
        found = watch.get()
        return found if watch.known or not watch.answered else None

    def services(self) -> Mapping[str, Instances]:
        found = {name: self.look_up(name) for name in self.names()}
        return {name: instances for name, instances in found.items() if instances is not None}

    def names(self) -> tuple[str, ...]:
        return tuple(name for name, watch in list(self._watches.items()) if watch.known)

    def trouble(self) -> str:
        return next((watch.trouble for watch in list(self._watches.values()) if watch.trouble), "")

    def age(self) -> float:
        return max((watch.age for watch in list(self._watches.values()) if watch.trouble), default=0.0)

    def close(self) -> None:
        """Let the threads end."""
        for watch in list(self._watches.values()):
            watch.stop()

    def _watch(self, service: str) -> Watch[Instances]:
        watch = self._watches.get(service)
        if watch is None:
            # Of two threads that are first at the same time one makes a watch too many, which never starts.
            watch = self._watches.setdefault(service, self._make(service))
            measure(service, age=partial(_age_of, watch), healthy=partial(_healthy_of, watch))
        return watch

    def _make(self, service: str) -> Watch[Instances]:
        return Watch(service, partial(self.look_at, service), empty=())


def seen(
    instances: Instances, *, known: bool = False, rest: float = 0.0, mark: str = "", restarted: bool = False
) -> Seen[Instances]:
    """Return an answer that holds ``instances``; a name without any is not known, unless it is said to be."""
    return Seen(
        value=instances,
        known=known or bool(instances),
        hollow=not any(instance.healthy for instance in instances),
        rest=rest,
        mark=mark,
        restarted=restarted,
    )


def _age_of(watch: Watch[Instances]) -> float:
    return watch.age


def _healthy_of(watch: Watch[Instances]) -> int:
    return sum(instance.healthy for instance in watch.last)
