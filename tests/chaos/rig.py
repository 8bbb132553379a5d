"""One run: start the shop, drive and kill it, wait until it is quiet, and account."""

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos import load as clients
from tests.chaos.evidence import read_tables, still_open
from tests.chaos.ledger import Ledger, account
from tests.chaos.platform import Platform, copied
from tests.chaos.schedule import TWIN, Fault, Strike, failpoints, schedule

__all__ = ["TEETH", "Run", "Verdict", "run"]

TEETH: Final = {"inbox": "consumer.inbox,consumer.after_commit=kill:30", "outbox": "publish.insert"}
"""Protections to switch off, with a death that shows that they are missing where it takes one."""
QUIET_LOOKS: Final = 2
LATE_ATTEMPTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Run:
    """``rate`` is in intents a second; ``patience`` is how long clients ask on after the kills, and ``drain`` how long
    the shop may take from then on until nothing waits any more, both in seconds."""

    seed: int
    seconds: float
    rate: float = 8.0
    broker: str = "nats"
    tooth: str = ""
    patience: float = 60.0
    drain: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``folder`` is where the shop was; it is kept when something is wrong. ``drained`` is in seconds, ``open`` what
    was still on its way when the patience ended, and ``shed`` the intents that were not begun: too many clients waited;
    ``silence`` is the longest time in seconds in which no client saw an answer 2xx, ``fallen`` how many processes died
    without being killed by the rig (at a named point), and ``trials`` how often each other fault came to pass.
    """

    ledger: Ledger
    killed: Counter[str]
    refusals: Counter[str]
    shed: int
    drained: float
    open: str
    silence: float
    fallen: int
    trials: Counter[Fault]
    folder: Path

    @property
    def good(self) -> bool:
        """Say whether each zero is a zero, and nobody was refused who asked for nothing wrong."""
        return self.ledger.balanced and not self.refusals


def run(order: Run, say: Callable[[str], None] = print, *, under: Path | None = None) -> Verdict:
    """Do it in a new folder, of ``under`` if told; ``say`` gets a line whenever something worth telling happens."""
    place = Path(tempfile.mkdtemp(prefix="bandstand-chaos-", dir=under))
    points = place / "failpoints"
    points.write_text(TEETH[order.tooth] if order.tooth else failpoints(order.seed))
    environment = {"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": f"@{points}"}
    platform = Platform(folder=copied(place, order.broker), environment=environment, broker=order.broker)
    verdict = None
    try:
        verdict = _Drive(order, platform, points, say).verdict()
        return verdict
    finally:
        platform.down()
        if verdict is not None and verdict.good:
            shutil.rmtree(place)
        else:
            say(f"kept: {platform.folder} (logs in .bandstand/logs; `bandstand up` there starts it again)")


class _Drive:
    def __init__(self, order: Run, platform: Platform, points: Path, say: Callable[[str], None]) -> None:
        self._order = order
        self._platform = platform
        self._points = points
        self._say = say
        self._killed: Counter[str] = Counter()
        self._trials: Counter[Fault] = Counter()
        self._poison: set[str] = set()
        self._begin = 0.0

    def verdict(self) -> Verdict:
        order = self._order
        self._say(f"starting a copy of the shop in {self._platform.folder}")
        gateway = self._platform.up()
        databases = self._platform.databases
        load, seeded = clients.open_shop(gateway, seed=order.seed, rate=order.rate, seconds=order.seconds)
        self._begin = time.monotonic()
        strikes = schedule(order.seed, order.seconds, order.broker)
        killer = threading.Thread(target=self._strike_all, args=(strikes,))
        teller = threading.Thread(target=self._tell, args=(load, over := threading.Event()))
        for thread in (killer, teller):
            thread.start()
        load.run(order.seconds, order.patience)
        over.set()
        for thread in (killer, teller):
            thread.join()
        if not order.tooth:  # the storm is over: each process falls once more at the most
            self._points.write_text("")
        drained, waits = self._drain()
        tables = read_tables(
            databases,
            self._platform.folder / ".bandstand" / "mail",
            seeded=seeded,
            domain=clients.DOMAIN,
            poison=frozenset(self._poison),
        )
        return Verdict(
            ledger=account(load.book.intents(), tables).with_kills(self._killed.total()),
            killed=self._killed,
            refusals=load.book.refusals,
            shed=load.shed,
            drained=drained,
            open=waits,
            silence=load.book.silence(),
            fallen=self._platform.restarts - self._killed.total(),
            trials=self._trials,
            folder=self._platform.folder,
        )

    def _strike_all(self, strikes: tuple[Strike, ...]) -> None:
        lasting: list[threading.Thread] = []
        for strike in strikes:
            time.sleep(max(0.0, self._begin + strike.at - time.monotonic()))
            if strike.fault == "kill":
                self._killed[strike.victim] += self._platform.kill(strike.victim)
                continue
            lasting.append(threading.Thread(target=self._try, args=(strike,)))
            lasting[-1].start()
        for thread in lasting:
            thread.join()

    def _try(self, strike: Strike) -> None:
        """Do what takes longer than a kill."""
        self._say(f"{strike.fault}: {strike.victim}" + (f" for {strike.lasts:.0f} s" if strike.lasts else ""))
        match strike.fault:
            case "pause":
                done = self._platform.pause(strike.victim, strike.lasts, TWIN)
            case "late":
                done = any(self._platform.commit_late(strike.victim, strike.lasts) for _ in range(LATE_ATTEMPTS))
            case "poison":
                name = f"poison-{strike.at:.0f}"
                if done := self._platform.poison(strike.victim, name, self._order.drain):
                    self._poison.add(name)
            case _:
                kills = self._platform.keep_down(strike.victim, strike.lasts)
                self._killed[strike.victim] += kills
                done = kills > 0
        self._trials[strike.fault] += done

    def _tell(self, load: clients.Load, over: threading.Event) -> None:
        while not over.wait(10.0):
            intents = load.book.intents()
            acked = sum(intent.acked for intent in intents)
            seconds = time.monotonic() - self._begin
            self._say(f"{seconds:4.0f} s: attempted={len(intents)} acked={acked} kills={self._killed.total()}")

    def _drain(self) -> tuple[float, str]:
        """Wait until nothing is on its way, by the databases and by the broker; return how long, and what is left.

        It must be so at two looks in a row: RabbitMQ does not tell what is just in a worker's hands. It was so when the
        first of them began, and the time that the looks take is not the shop's.
        """
        begin, quiet = time.monotonic(), 0
        drained = 0.0
        while True:
            looked = time.monotonic() - begin
            waits = still_open(self._platform.databases) or self._platform.waiting()
            drained = drained if quiet else looked
            quiet = 0 if waits else quiet + 1
            if quiet == QUIET_LOOKS or looked > self._order.drain:
                return drained, waits
            if waits:
                self._say(f"draining, {looked:.0f} s: {waits}")
            time.sleep(1.0)
