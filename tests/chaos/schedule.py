"""What befalls whom, and when: made of the seed alone, so that a run can be repeated."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = ["BROKERS", "SERVICES", "TWIN", "Fault", "Strike", "failpoints", "schedule", "servers", "victims"]

Fault = Literal["kill", "pause", "outage", "poison", "late"]

BROKERS: Final = ("nats", "rabbitmq")
SERVICES: Final = ("user-service", "product-service", "order-service", "notification-service")
PROCESSES: Final = tuple(f"{service}-{kind}" for service in SERVICES for kind in ("web", "worker"))
SERVERS_SHARE: Final = 0.2  # of the kills
PAUSE: Final = (0.7, 2.0)  # seconds after the kill of a process
PAUSE_OF_SERVER: Final = (3.0, 6.0)  # after that of a server, without which nobody is ready
PUBLISHER: Final = "order-service"  # whose events are poisoned, and committed late

# Seconds: a transaction that stays open, a worker that is silent for longer than its lease (15), a broker that is down.
LATE, SILENCE, OUTAGE = 30.0, 20.0, 60.0
TWIN: Final = 30.0  # for another worker to be ready, before the first one falls silent
FAILPOINTS: Final = (
    "publish.before_commit",
    "relay.after_claim",
    "relay.after_publish",
    "consumer.after_handler",
    "consumer.after_commit",
    "consumer.before_acknowledge",
    "consumer.before_handler",
)
PASSAGES: Final = (100, 400)


@dataclass(frozen=True, kw_only=True)
class Strike:
    """``fault`` befalls ``victim`` so many seconds after the beginning, and lasts so many: a kill is SIGKILL."""

    at: float
    victim: str
    fault: Fault = "kill"
    lasts: float = 0.0

    @property
    def end(self) -> float:
        """When it is over, in seconds after the beginning."""
        return self.at + self.lasts


def servers(broker: str) -> tuple[str, ...]:
    """Return the servers that are killed."""
    return ("postgres", broker, "redis")


def victims(broker: str) -> tuple[str, ...]:
    """Return everybody who is killed."""
    return (*PROCESSES, *servers(broker))


def failpoints(seed: int) -> str:
    """Return at which passages of which named points each process dies, for ``BANDSTAND_FAILPOINTS``."""
    draw = random.Random(seed)
    return ",".join(f"{point}=kill:{draw.randint(*PASSAGES)}" for point in FAILPOINTS)


def schedule(seed: int, seconds: float, broker: str = "nats") -> tuple[Strike, ...]:
    """Return the strikes of a run of ``seconds``, in the order of time."""
    draw = random.Random(seed)
    trials = tuple(_trials(draw, seconds, broker))
    return tuple(sorted((*_kills(draw, seconds, broker, trials), *trials), key=lambda strike: strike.at))


def _trials(draw: random.Random, seconds: float, broker: str) -> Iterator[Strike]:
    """Yield each once where there is time for it."""
    yield Strike(at=0.1 * seconds, victim=PUBLISHER, fault="poison")
    yield Strike(at=0.6 * seconds, victim=PUBLISHER, fault="poison")
    if seconds >= 2 * LATE:
        yield Strike(at=0.05 * seconds, victim=PUBLISHER, fault="late", lasts=LATE)
    if seconds >= 3 * SILENCE:
        worker = draw.choice([name for name in PROCESSES if name.endswith("-worker")])
        yield Strike(at=0.4 * seconds, victim=worker, fault="pause", lasts=SILENCE)
    if seconds >= 2 * OUTAGE:
        yield Strike(at=0.45 * seconds, victim=broker, fault="outage", lasts=OUTAGE)


def _kills(draw: random.Random, seconds: float, broker: str, trials: tuple[Strike, ...]) -> Iterator[Strike]:
    """Yield every victim in turn, in an order and with pauses that are drawn.

    They are drawn without putting back, so that a short run too kills each sort. A transaction that is to stay open
    needs its database, and a process that is to be silent its life.
    """
    decks: dict[bool, list[str]] = {True: [], False: []}
    at = draw.uniform(*PAUSE)
    while at < seconds:
        is_server = draw.random() < SERVERS_SHARE
        if not decks[is_server]:
            decks[is_server] = list(servers(broker) if is_server else PROCESSES)
            draw.shuffle(decks[is_server])
        kill = Strike(at=at, victim=decks[is_server].pop())
        yield replace(kill, victim="redis" if is_server else PROCESSES[0]) if _spared(kill, trials) else kill
        at += draw.uniform(*(PAUSE_OF_SERVER if is_server else PAUSE))


def _spared(kill: Strike, trials: tuple[Strike, ...]) -> bool:
    needed = {"late": ("postgres", 2.0), "pause": ("", TWIN)}
    for trial in trials:
        server, margin = needed.get(trial.fault, ("", 0.0))
        if margin and trial.at <= kill.at <= trial.end + margin and kill.victim == (server or trial.victim):
            return True
    return False
