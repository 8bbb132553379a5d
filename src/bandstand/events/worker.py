"""The worker: one process that relays the outbox and runs the handlers."""

import logging
import os
import signal
import types
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.db import connections

from bandstand import failpoints
from bandstand.conf import Settings, wire
from bandstand.events.brokers import BrokerOptions, build_broker
from bandstand.events.consumer import Consumer
from bandstand.events.databases import faults
from bandstand.events.exposing import Exposure
from bandstand.events.housekeeping import Housekeeping
from bandstand.events.outbox import open_outbox
from bandstand.events.relay import Relay
from bandstand.events.subscriptions import REGISTRY, Registry
from bandstand.events.wakeup import Listener
from bandstand.exceptions import ConfigurationError

__all__ = ["Worker"]

logger: Final = logging.getLogger(__name__)

_OTHER_THREADS: Final = 4  # two relay, retrier, housekeeping: each may need a connection beside the handlers
_INTERRUPTED: Final = 130


class Worker:
    """Connects the parts, starts them, and stops them in the right order."""

    def __init__(
        self, settings: Settings, *, relay: bool = True, consume: bool = True, registry: Registry = REGISTRY
    ) -> None:
        events = settings.events
        self._settings = events
        self._stopping = Event()
        self._changed = Event()
        options = BrokerOptions(
            platform=settings.platform, service=settings.service, lease=events.lease, prefetch=8 * events.threads
        )
        self._broker = build_broker(events.broker_url, options)
        outbox = open_outbox(events.database)
        self._consumer = Consumer(self._broker, registry, events) if consume else None
        self._housekeeping = Housekeeping(outbox, events)
        self._listener = Listener(events.database, {"outbox": self._wake_relay, "deliveries": self._wake_retrier})
        self._relay = (
            Relay(self._broker, outbox, events, is_notified=lambda: self._listener.listening) if relay else None
        )
        self._ready_file = Path(path) if (path := os.environ.get(wire.READY_FILE)) else None
        address = os.environ.get(wire.WORKER_PORT)
        self._exposure = Exposure(address, self._is_ready) if address else None

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. A second signal ends the process at once."""
        check_pool(self._settings.database, self._settings.threads)
        check_transactions(self._settings.database)
        if names := failpoints.active():
            logger.warning("Fail-points are active: %s. This process is made to fail.", ", ".join(names))
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            self.start()
            while not self._stopping.is_set():
                self._changed.wait(1.0)
                self._changed.clear()
                self._tell_readiness()
        finally:
            self.stop()

    def start(self) -> None:
        """Start all parts."""
        if self._exposure:
            self._exposure.start()
        self._listener.start()
        if self._consumer:
            self._consumer.start()
        if self._relay:
            self._relay.start()
        self._housekeeping.start()
        self._broker.open(self._on_change)

    def stop(self) -> None:
        """Finish what is in flight, within ``shutdown_timeout`` seconds, and disconnect."""
        self._say_ready(False)
        deadline = monotonic() + self._settings.shutdown_timeout
        self._listener.stop()
        self._housekeeping.stop()
        if self._consumer and not self._consumer.stop(self._settings.shutdown_timeout):
            logger.warning("Some handlers did not end in time; their events are handled again elsewhere")
        if self._relay:
            self._relay.stop()
            self._relay.join(max(1.0, deadline - monotonic()))
        self._broker.close()
        if self._exposure:
            self._exposure.stop()
        logger.info("The worker has stopped")

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        if self._stopping.is_set():
            os._exit(_INTERRUPTED)
        logger.info("Stopping, because of %s", signal.Signals(number).name)
        self._stopping.set()
        self._changed.set()

    def _on_change(self) -> None:
        self._changed.set()
        self._wake_relay()

    def _wake_relay(self) -> None:
        if self._relay:
            self._relay.wake()

    def _wake_retrier(self) -> None:
        if self._consumer:
            self._consumer.retrier.wake()

    def _tell_readiness(self) -> None:
        self._say_ready(self._is_ready())

    def _is_ready(self) -> bool:
        parts = [part for part in (self._consumer, self._relay) if part is not None]
        return self._broker.connected and not self._stopping.is_set() and all(part.is_alive() for part in parts)

    def _say_ready(self, ready: bool) -> None:
        if self._ready_file is None:
            return
        if ready:
            self._ready_file.touch()
        else:
            self._ready_file.unlink(missing_ok=True)


def check_transactions(alias: str) -> None:
    """Refuse a database that can't keep what the room promises; one that is down is waited for.

    Raises:
        ConfigurationError: the text holds every fault.
    """
    try:
        found = [fault for fault in faults(connections[alias]) if fault.is_serious()]
    except DatabaseError:
        return
    finally:
        connections[alias].close()
    if found:
        raise ConfigurationError("\n".join(f"{fault.msg} {fault.hint}" for fault in found))


def check_pool(alias: str, threads: int) -> None:
    """Refuse a pool in which the worker's threads would wait for each other's connections.

    Raises:
        ConfigurationError: the pool is too small; the text says by how much.
    """
    database: dict[str, Any] = django_settings.DATABASES.get(alias, {})
    pool = database.get("OPTIONS", {}).get("pool")
    needed = threads + _OTHER_THREADS
    size = pool.get("max_size") or pool.get("min_size", 4) if isinstance(pool, dict) else None
    if connections[alias].vendor == "postgresql" and size is not None and size < needed:
        raise ConfigurationError(
            f"The worker has {threads} handler threads and needs {needed} database connections, but the pool has at "
            f"most {size}. Set {wire.DATABASE_POOL_SIZE}={needed}, or fewer threads: "
            f"environment.bandstand(events={{'THREADS': {max(1, size - _OTHER_THREADS)}}})."
        )
