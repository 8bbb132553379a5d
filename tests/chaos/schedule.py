"""When which process is killed: made of the seed alone, so that a run can be repeated."""

import random
from dataclasses import dataclass
from typing import Final

__all__ = ["SERVERS", "SERVICES", "VICTIMS", "Kill", "schedule"]

SERVICES: Final = ("user-service", "product-service", "order-service", "notification-service")
SERVERS: Final = ("postgres", "nats", "redis")
VICTIMS: Final = (*(f"{service}-{kind}" for service in SERVICES for kind in ("web", "worker")), *SERVERS)
SERVERS_SHARE: Final = 0.2  # of the kills
PAUSE: Final = (0.7, 2.0)  # seconds after the kill of a process
PAUSE_OF_SERVER: Final = (3.0, 6.0)  # after that of a server, without which nobody is ready


@dataclass(frozen=True, kw_only=True)
class Kill:
    """``victim`` gets SIGKILL so many seconds after the beginning."""

    at: float
    victim: str


def schedule(seed: int, seconds: float) -> tuple[Kill, ...]:
    """Return the kills of a run of ``seconds``: every victim in turn, in an order and with pauses drawn from ``seed``.

    Processes are drawn without putting back, so that a short run too kills each sort.
    """
    draw = random.Random(seed)
    kills: list[Kill] = []
    decks: dict[bool, list[str]] = {True: [], False: []}
    at = draw.uniform(*PAUSE)
    while at < seconds:
        is_server = draw.random() < SERVERS_SHARE
        if not decks[is_server]:
            decks[is_server] = list(SERVERS if is_server else VICTIMS[: -len(SERVERS)])
            draw.shuffle(decks[is_server])
        kills.append(Kill(at=at, victim=decks[is_server].pop()))
        at += draw.uniform(*(PAUSE_OF_SERVER if is_server else PAUSE))
    return tuple(kills)
