"""A process that serves enters itself into the registry, stays in it, and leaves it.

It begins when a server loads the application, which no management command but ``runserver`` does, and registers when
the process really listens and answers. Workers behind one address are one instance: one of them speaks for all, another
takes over when it ends, and the last one that drains takes the instance out.
"""

import atexit
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from django.core import mail

from bandstand import health
from bandstand.conf import Settings, get_settings
from bandstand.discovery.active import active_registry
from bandstand.discovery.advertising import Advertised, advertised_host
from bandstand.discovery.crew import Crew
from bandstand.discovery.listening import Listener, ask, find_listener
from bandstand.discovery.registrar import Entry, Registrar
from bandstand.discovery.watching import RegistryAway, Start, start_thread
from bandstand.exceptions import ConfigurationError
from bandstand.resilience import full_jitter

__all__ = ["Registration", "begin_registration", "prepare_registration", "registration_trouble"]

logger: Final = logging.getLogger(__name__)

RENEW: Final = 4.0
"""Seconds between two looks whether the registry still has the instance."""

_FOLLOW: Final = 0.5  # seconds after which another worker notices that the one that led is gone
_POLLS: Final = (0.1, 2.0)  # seconds between two looks for the listening socket: the first, and the longest
_SETTLING: Final = 1.0  # seconds that the server's own handling of signals may take to settle
_PATIENCE: Final = 10.0  # seconds without one, after which the log says why
_GOODBYE: Final = 3.0  # seconds that leaving may hold up the end of the process


class Registration:
    """One process's part in keeping an instance registered; :meth:`run` is a thread of its own."""

    def __init__(
        self,
        registrar: Registrar,
        settings: Settings,
        *,
        find: Callable[[str], tuple[Listener | None, str]] = find_listener,
        ask: Callable[[str, str, str], tuple[int, str]] = ask,
        join: Callable[[str], Crew] = Crew,
        pause: Callable[[float], bool] = health.wait_until_draining,
        hears: Callable[[], bool] = health.hears_sigterm,
        start: Start = start_thread,
    ) -> None:
        self._registrar = registrar
        self._settings = settings
        self._advertised = Advertised.parse(settings.discovery.advertise)
        self._find = find
        self._ask = ask
        self._join = join
        self._pause = pause
        self._hears = hears
        self._start = start
        self._begun = False
        self._process = os.getpid()
        self._own_url = ""
        self._crew: Crew | None = None
        self._entry: Entry | None = None
        self.trouble = ""
        self._registered = False
        self._failures = 0
        self._is_last = False
        self._left = threading.Event()

    @property
    def name(self) -> str:
        """The name to register under: workers answer no calls, so theirs is another."""
        service, process = self._settings.service, self._settings.process
        return f"{service}-worker" if process == "worker" else service

    def begin(self) -> None:
        """Start the thread, unless it was: one that can't be started is a trouble, and the next call tries again."""
        if self._begun:
            return
        self._begun = True
        try:
            self._start(self.run, "discovery-registration")
        except RuntimeError as error:  # the machine has no thread left; what serves is of more use than what ends
            self._begun = False
            if not self.trouble:
                logger.error("This process is not registered: %s. It is tried again when /health/ is asked.", error)
            self.trouble = f"This process is not registered: {error}."
        else:
            self.trouble = ""

    def run(self) -> None:
        """Wait until the process listens, register, renew, and leave when it drains."""
        try:
            entry = self._await_entry()
            if entry is not None and self._settles():
                self._entry, self._crew = entry, self._join(entry.id)
                while not self._pause(self.tend(entry, self._crew)):
                    pass
                self.leave()
        except Exception:
            logger.exception("The process can't be registered.")
        finally:
            self._left.set()

    def _settles(self) -> bool:
        """Wait until SIGTERM is heard here, which takes a moment after the server set its own handler."""
        return not any(self._pause(_SETTLING / 10) for _ in range(10) if not self._hears())

    def tend(self, entry: Entry, crew: Crew) -> float:
        """Do what is to be done now, and return the seconds until the next time."""
        if not crew.leads():
            return _FOLLOW
        try:
            self._enter(entry)
        except RegistryAway as error:
            return self._missed(error)
        if self._failures:
            logger.info("The registry can be told of %s again.", entry.id)
            self._failures, self.trouble = 0, ""
        return RENEW

    def leave(self) -> None:
        """Let nobody be sent here any more, if this is the last process that serves the address."""
        entry, crew = self._entry, self._crew
        if entry is None or crew is None:
            return
        self._is_last = crew.leave()
        if self._is_last:
            _quietly(self._registrar.withdraw, entry)

    def others_serve(self) -> bool:
        """Return whether this process has left its address to others that stay."""
        left = self._left.is_set() and not self._is_last
        return left and self._crew is not None and self._crew.others_stay()

    def finish(self) -> None:
        """After draining, take the instance out. Safe to call at any time and several times."""
        if self._process != os.getpid() or self._entry is None:
            return
        if not health.is_draining():  # an end without SIGTERM
            health.start_draining()
        self._left.wait(_GOODBYE)
        if self._is_last:
            self._is_last = False
            _quietly(self._registrar.deregister, self._entry)
        if self._crew is not None:
            self._crew.close()

    def forked(self) -> None:
        """In a child: the registration is the parent's."""
        if self._crew is not None:
            self._crew.close()

    def _enter(self, entry: Entry) -> None:
        if self._registered:
            self._registrar.renew(entry, ready=self._is_ready)
            return
        self._registrar.register(entry, ready=self._is_ready())
        self._registered = True
        logger.info("Registered as %s", entry.id, extra={"probe": entry.probe})

    def _is_ready(self) -> bool:
        """Who gets no answer asks once more: the question may have met a worker that was just killed."""
        return (self._readiness() or self._readiness()) == 200

    def _readiness(self) -> int:
        status, _ = self._ask(self._own_url, "/health/ready/", self._settings.service)
        return status

    def _missed(self, error: RegistryAway) -> float:
        self._failures += 1
        self.trouble = f"The registry can't be told of this process: {error}."
        if self._failures == 1:
            logger.warning("%s It is tried again.", self.trouble)
        return full_jitter(self._failures, base=0.2, cap=RENEW)

    def _await_entry(self) -> Entry | None:
        """Return what to register once somebody listens, or None when the process ends before."""
        rest, waited = _POLLS[0], 0.0
        while True:
            listener, why = self._find(self._settings.service)
            try:
                if listener is not None:
                    self._own_url = listener.own_url
                    return self._describe(listener)
                if self._answers_where_advertised():
                    return self._describe(None)
            except OSError as error:
                why = f"there is no way to the registry at {self._registrar.host}: {error}"
            if why and waited < _PATIENCE <= waited + rest:
                logger.warning("Not registered yet: %s", why)
            if self._pause(rest):
                return None
            waited, rest = waited + rest, min(rest * 1.2, _POLLS[1])

    def _answers_where_advertised(self) -> bool:
        """Where a process has no socket of its own, as behind nginx, only who asks for it is registered."""
        host, port = self._advertised.host, self._advertised.port
        if self._settings.discovery.register != "always" or not host or not port:
            return False
        self._own_url = f"http://{_bracketed(host)}:{port}"
        return self._ask(self._own_url, "/health/live/", self._settings.service) == (200, "alive")

    def _describe(self, listener: Listener | None) -> Entry:
        settings, registrar = self._settings, self._registrar
        host, port = self._advertised.host, self._advertised.port
        if listener is not None:
            host = host or advertised_host(listener, (registrar.host, registrar.port))
            port = port or listener.port
        # An agent on the same machine reaches the process as the process itself does.
        probe = f"http://{_bracketed(host)}:{port}" if host else self._own_url
        identity = f"{self.name}-{host or socket.gethostname()}-{port}".replace(":", ".")
        return Entry(
            id=identity,
            service=self.name,
            name=settings.service,
            host=host,
            port=port,
            probe=f"{probe}/health/ready/",
            tags=tuple(dict.fromkeys((*registrar.tags, *settings.discovery.tags))),
            metadata={"version": settings.version, "platform": settings.platform},
        )


def prepare_registration() -> None:
    """Get ready while the apps are loaded, in the main thread, where alone signals can be handled.

    A command has nothing to get ready: so no command loads the driver of a registry that it may never use.
    """
    process = get_settings().process
    if process in {"web", "worker"} and _registrar() is not None:
        if process == "web":
            health.when_drained(_end_registration)
        else:
            begin_registration()


def begin_registration(**_: Any) -> None:
    """Begin to register, once in a process; to be called when a server loads the application."""
    registrar = None if _running else _registrar()
    if registrar is None:
        return
    settings = get_settings()
    registration = Registration(registrar, settings)
    _running.append(registration)
    registration.begin()
    atexit.register(registration.finish)
    if settings.process != "worker":  # which ends by itself, in an order of its own
        health.when_drained(_end_registration)
        health.stay_ready_while(_others_serve)
        health.drain_on_sigterm(serving=True)


def registration_trouble() -> str:
    """Return why this process may not be registered, as one sentence, or nothing; begin what could not begin."""
    for registration in _running:
        registration.begin()
    return next((registration.trouble for registration in _running if registration.trouble), "")


def _end_registration() -> None:
    for registration in _running:
        registration.finish()


def _others_serve() -> bool:
    return any(registration.others_serve() for registration in _running)


def _registrar() -> Registrar | None:
    """Return what this process is to be registered with, if it is to be."""
    settings = get_settings()
    wanted = settings.discovery.register
    if wanted == "never" or (settings.process == "worker" and wanted != "always"):
        return None
    # Django's test runner and pytest-django put an outbox in place of mail: a test's live server is no instance.
    if hasattr(mail, "outbox"):
        return None
    try:
        registry = active_registry()
    except ConfigurationError:  # a system check tells of it, and so does the first call
        return None
    return registry if isinstance(registry, Registrar) else None


_running: Final[list[Registration]] = []


def _forked() -> None:
    for registration in _running:
        registration.forked()
    _running.clear()


os.register_at_fork(after_in_child=_forked)


def _quietly(tell: Callable[[Entry], None], entry: Entry) -> None:
    """A registry that can't be told finds out by itself: the check fails as soon as the process is gone."""
    try:
        tell(entry)
    except RegistryAway as error:
        logger.warning("The registry can't be told that %s leaves: %s", entry.id, error)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
