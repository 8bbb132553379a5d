"""Every error that Bandstand raises, as one tree.

::

    BandstandError
    ├── ConfigurationError          also Django's ImproperlyConfigured; lists every fault at once
    ├── DeadlineExceeded            nobody waits for this work any more
    ├── Overloaded                  as much of this is going on as the process can bear
    ├── MigrationBlocked            somebody else migrates, or holds a table, for too long
    ├── IdentityError
    │   ├── InvalidToken            expired, forged, for somebody else: 401
    │   ├── CallerNotAllowed        a known service that is not on the list: 403
    │   └── KeySetUnavailable       no key set could be had yet
    ├── DiscoveryError
    │   ├── UnknownService          no such name in the registry
    │   └── NoInstances             the name is known, nobody serves it now
    ├── ServiceCallError            a call to another service failed; says which, what and after how many attempts
    │   ├── ServiceUnavailable      could not connect, or it said 502, 503 or 504
    │   │   ├── CircuitOpen         not tried: it failed too often just now
    │   │   └── TooManyCalls        not tried: too many calls to it are under way
    │   ├── ServiceTimeout          it did not answer in time
    │   └── ServiceResponseError    it answered with an error status
    ├── EventError
    │   ├── NotInTransaction        publish() outside a transaction
    │   ├── InvalidEvent            the bytes are not an event of a known type and version
    │   ├── EventPostponed          raised by a handler: not now, and never a dead letter
    │   └── BrokerError
    │       ├── BrokerUnavailable   no connection, or no confirmation in time
    │       └── Unroutable          nobody would receive the message
    ├── CacheError
    │   ├── CacheUnavailable        what must be forgotten could not be, since Redis is away
    │   └── UnstableKey             an argument has no form that is the same in every process
    └── WorkspaceError
        ├── ManifestError           bandstand.toml; lists every fault with file and line
        ├── ServerMissing           the binary of a server is not installed
        ├── ServerFailed            a server did not start or died
        ├── ServiceFailed           a service did not start or died
        ├── MigrationFailed         a service's migrations failed
        └── NotRunning / AlreadyRunning

Each class carries ``code``, a name for machines. Texts say what is wrong, where, and what to do next.
"""

from collections.abc import Sequence
from typing import ClassVar

from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "AlreadyRunning",
    "BandstandError",
    "BrokerError",
    "BrokerUnavailable",
    "CacheError",
    "CacheUnavailable",
    "CallerNotAllowed",
    "CircuitOpen",
    "ConfigurationError",
    "DeadlineExceeded",
    "DiscoveryError",
    "EventError",
    "EventPostponed",
    "IdentityError",
    "InvalidEvent",
    "InvalidToken",
    "KeySetUnavailable",
    "ManifestError",
    "MigrationBlocked",
    "MigrationFailed",
    "NoInstances",
    "NotInTransaction",
    "NotRunning",
    "Overloaded",
    "ServerFailed",
    "ServerMissing",
    "ServiceCallError",
    "ServiceFailed",
    "ServiceResponseError",
    "ServiceTimeout",
    "ServiceUnavailable",
    "TooManyCalls",
    "UnknownService",
    "Unroutable",
    "UnstableKey",
    "WorkspaceError",
]


class BandstandError(Exception):
    """The root of every error that Bandstand raises on purpose."""

    code: ClassVar[str] = "bandstand_error"


class ConfigurationError(BandstandError, ImproperlyConfigured):
    """Settings or environment variables are wrong; ``faults`` holds one sentence for each."""

    code = "configuration_error"

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class DeadlineExceeded(BandstandError):
    """The caller's deadline has passed, so the work was not begun or was given up."""

    code = "deadline_exceeded"


class Overloaded(BandstandError):
    """As much of this kind of work is going on as the process can bear; another try may succeed soon."""

    code = "overloaded"


class MigrationBlocked(BandstandError):
    """A migration could not have what it needs; the text says of whom, and how to find them."""

    code = "migration_blocked"


class IdentityError(BandstandError):
    """Who is asking could not be established, or may not ask."""

    code = "identity_error"


class InvalidToken(IdentityError):
    """A token was refused. ``reason`` is one word for logs and metrics; it is never sent to the caller."""

    code = "invalid_token"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The token was refused: {reason}")


class CallerNotAllowed(IdentityError):
    """A service with a valid token is not on the callee's list of callers."""

    code = "caller_not_allowed"


class KeySetUnavailable(IdentityError):
    """The key set could not be fetched and no earlier one is known."""

    code = "key_set_unavailable"


class DiscoveryError(BandstandError):
    """A service could not be found."""

    code = "discovery_error"


class UnknownService(DiscoveryError):
    """The registry has no service of that name."""

    code = "unknown_service"


class NoInstances(DiscoveryError):
    """The service is known, but no instance of it serves now."""

    code = "no_instances"


class ServiceCallError(BandstandError):
    """A call to another service failed.

    ``service`` is the callee, ``attempts`` the number of tries that reached the network, ``http_status`` what the API
    layer answers its own caller with (502, 503 or 504). ``do_not_retry`` says that trying again was tried in vain, here
    or further down; the API layer passes it on, so that retries of a chain of services do not multiply. ``retry_after``
    is the number of seconds after which another try makes sense, where that is known.
    """

    code = "service_call_failed"
    http_status: ClassVar[int] = 502
    do_not_retry = False
    retry_after: float | None = None

    def __init__(self, message: str, *, service: str, attempts: int = 1) -> None:
        self.service = service
        self.attempts = attempts
        super().__init__(message)


class ServiceUnavailable(ServiceCallError):
    """The callee could not be reached, or answered 502, 503 or 504 on the last attempt."""

    code = "service_unavailable"
    http_status = 503


class ServiceTimeout(ServiceCallError):
    """The callee did not answer in time."""

    code = "service_timeout"
    http_status = 504


class CircuitOpen(ServiceUnavailable):
    """The call was not tried, because the callee failed too often in the last seconds."""

    code = "circuit_open"


class TooManyCalls(ServiceUnavailable):
    """The call was not tried, because as many calls to the callee as may be are under way already."""

    code = "too_many_calls"


class ServiceResponseError(ServiceCallError):
    """The callee answered with a status of 400 or more. ``problem`` is its problem document, if it sent one."""

    code = "service_response_error"
    http_status = 502

    def __init__(
        self, message: str, *, service: str, status: int, problem: dict[str, object] | None = None, attempts: int = 1
    ) -> None:
        self.status = status
        self.problem = problem or {}
        super().__init__(message, service=service, attempts=attempts)


class EventError(BandstandError):
    """Something is wrong with an event or its way to the subscribers."""

    code = "event_error"


class NotInTransaction(EventError):
    """``publish()`` was called outside a transaction, where the event could be lost or could tell of what never was."""

    code = "not_in_transaction"


class InvalidEvent(EventError):
    """The bytes received are not an event of a known type and version."""

    code = "invalid_event"


class EventPostponed(EventError):
    """Raised by a handler that can't work now, since what it needs is away: the event waits, however long that takes.

    It is tried again after ``RETRY_DELAYS``, then after the last of them again and again, and never becomes a dead
    letter. What ends the waiting is up to the handler.
    """

    code = "event_postponed"


class BrokerError(EventError):
    """The message broker refused or could not be reached."""

    code = "broker_error"


class BrokerUnavailable(BrokerError):
    """There is no connection to the broker, or it did not confirm in time."""

    code = "broker_unavailable"


class Unroutable(BrokerError):
    """The broker has no queue or stream that would take the message."""

    code = "unroutable"


class CacheError(BandstandError):
    """The cache was used in a way that would give wrong results, or could not be told what would."""

    code = "cache_error"


class CacheUnavailable(CacheError):
    """Cached values could not be invalidated because the cache is away."""

    code = "cache_unavailable"


class UnstableKey(CacheError):
    """An argument has no form that is the same in every process, so it can't be a part of a cache key."""

    code = "unstable_key"


class WorkspaceError(BandstandError):
    """A command on a workspace failed. ``hint`` is the next step, as one sentence."""

    code = "workspace_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n{hint}" if hint else message)


class ManifestError(WorkspaceError):
    """bandstand.toml is wrong; ``faults`` holds ``file:line: what is wrong; what to write instead`` for each fault."""

    code = "manifest_error"

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class StartInterrupted(WorkspaceError):
    """A signal ended a start; ``status`` is the exit status that shells give for it (130 for Ctrl-C)."""

    code = "interrupted"

    def __init__(self, signal_number: int) -> None:
        self.status = 128 + signal_number
        super().__init__("Interrupted, and stopped: nothing of it runs any more.")


class ServerMissing(WorkspaceError):
    """The binary of a server is not installed."""

    code = "server_missing"


class ServerFailed(WorkspaceError):
    """A server did not start, or died while the platform started."""

    code = "server_failed"


class ServiceFailed(WorkspaceError):
    """A service did not become ready."""

    code = "service_failed"


class MigrationFailed(WorkspaceError):
    """The migrations of a service failed."""

    code = "migration_failed"


class NotRunning(WorkspaceError):
    """The workspace is not running."""

    code = "not_running"


class AlreadyRunning(WorkspaceError):
    """The workspace is running already."""

    code = "already_running"
