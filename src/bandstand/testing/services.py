"""Other services, played by rules: no call of a test leaves the process, and none goes unnoticed.

::

    with fake_services() as fake:
        users = fake.on("user-service", "GET", "/api/v1/users/{id}/", json={"email": "ada@example.com"})
        ...  # whatever uses ServiceClient, AsyncServiceClient or call_service, in any thread
        assert users.calls[0].variables == {"id": "7"}

Everything of the client runs as in production but for the network: time limits, headers, retries, typed errors. Only
the pauses between tries take no time.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from bandstand.client import (
    AsyncTransport,
    ConnectFailed,
    Headers,
    Request,
    Response,
    TimedOut,
    Transport,
    use_transport,
)
from bandstand.discovery import Instance, Registry, use_registry
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)

__all__ = ["FakeServices", "RecordedCall", "Rule", "UndeclaredCall", "fake_services"]

Failure: TypeAlias = type[ServiceCallError] | type[DeadlineExceeded] | Exception

# What a real transport says before the client makes these errors of it.
_CAUSES: Final = {ServiceTimeout: TimedOut, ServiceUnavailable: ConnectFailed}


class UndeclaredCall(AssertionError):
    """A call was made that no rule answers."""


class RecordedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as it would have been sent. ``variables`` are the parts of the path that stand for ``{name}``.

    ``params`` has a list for each name, as a query may repeat it; ``json`` is the decoded body, or None.
    """

    service: str
    method: str
    path: str
    params: dict[str, list[str]]
    json: Any
    headers: Headers
    variables: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.method} {self.path} of {self.service}"


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says once: a response, or a failure."""

    json: Any
    status: int
    headers: Mapping[str, str] | None
    raises: Failure | None

    def __post_init__(self) -> None:
        if isinstance(self.raises, type) and issubclass(self.raises, ServiceResponseError):
            raise TypeError("An error status is an answer: write status=404 instead of raises=ServiceResponseError.")

    def response(self, call: RecordedCall) -> Response:
        """Return or raise what the transport of a real service would."""
        if self.raises is not None:
            raise _failure(self.raises, call)
        value = self.json(call) if callable(self.json) else self.json
        kind = "application/json" if self.status < 400 else "application/problem+json"
        return Response(
            service=call.service,
            status=self.status,
            headers=Headers({"Content-Type": kind, **(self.headers or {})}.items()),
            content=b"" if value is None else msgspec.json.encode(value),
        )


class Rule:
    """How one route of a service answers, made by :meth:`FakeServices.on`; ``calls`` are those that it answered."""

    def __init__(self, service: str, method: str, path: str, first: _Answer) -> None:
        self.service = service
        self.method = method
        self.path = path
        self.calls: list[RecordedCall] = []
        self._answers = [first]
        self._pattern = _pattern(path)

    def then(
        self,
        *,
        json: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        raises: Failure | None = None,
    ) -> Self:
        """Answer so the next time; the last answer stays. ``fake.on(…, status=503).then(json={})``."""
        self._answers.append(_Answer(json=json, status=status, headers=headers, raises=raises))
        return self

    def variables(self, call: RecordedCall) -> dict[str, str] | None:
        """Return the variable parts of the call's path, or None when this rule is not about it."""
        if (self.service, self.method) != (call.service, call.method):
            return None
        match = self._pattern.fullmatch(unquote(call.path))
        return match.groupdict() if match else None

    def answer(self, call: RecordedCall) -> Response:
        """Record the call and return the answer whose turn it is."""
        turn = min(len(self.calls), len(self._answers) - 1)
        self.calls.append(call)
        return self._answers[turn].response(call)

    def __repr__(self) -> str:
        return f"{self.method} {self.path} of {self.service}"


class FakeServices:
    """All other services, for a ``with`` block. Every attempt is in ``calls``, retries too.

    Raises:
        UndeclaredCall: from a call that no rule answers, and again at the end of the block, in case that the code
            under test made something else of it (an error page, a fallback).
    """

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []
        self.pauses: list[float] = []
        self._rules: list[Rule] = []
        self._down: set[str] = set()
        self._undeclared: list[UndeclaredCall] = []
        self._places = ExitStack()

    def on(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        raises: Failure | None = None,
    ) -> Rule:
        """Say how a route answers. Of several rules for a call the one declared last holds.

        ``path`` may have variable parts (``/api/v1/users/{id}/``). ``json`` is the body, or a function that makes it
        of the :class:`RecordedCall`. ``raises`` is a failure instead of an answer: ``ServiceTimeout``,
        ``ServiceUnavailable`` (both go through the client's own judgement, retries included), another class of
        ``ServiceCallError``, ``DeadlineExceeded``, or an exception to be raised as it is.
        """
        rule = Rule(service, method.upper(), path, _Answer(json=json, status=status, headers=headers, raises=raises))
        self._rules.append(rule)
        return rule

    def down(self, *services: str) -> None:
        """Let nobody reach these services from now on, whatever the rules say."""
        self._down.update(services)

    def up(self, *services: str) -> None:
        """Let these services be reached again."""
        self._down.difference_update(services)

    def calls_to(self, service: str) -> list[RecordedCall]:
        """Return the attempts made at ``service``."""
        return [call for call in self.calls if call.service == service]

    def handle(self, request: Request) -> Response:
        """Answer one attempt in the place of the network."""
        call = _recorded(request)
        self.calls.append(call)
        if call.service in self._down:
            raise ConnectFailed(f"{call.service} is down in this test")
        for rule in reversed(self._rules):
            variables = rule.variables(call)
            if variables is not None:
                return rule.answer(msgspec.structs.replace(call, variables=variables))
        raise self._refused(call)

    def _refused(self, call: RecordedCall) -> UndeclaredCall:
        declared = "\n".join(f"  {rule!r}" for rule in self._rules) or "  nothing"
        error = UndeclaredCall(
            f"{call} was called, but is not declared. Declared are:\n{declared}\n"
            f'Add: fake.on("{call.service}", "{call.method}", "{call.path}", json={{…}})'
        )
        self._undeclared.append(error)
        return error

    def __enter__(self) -> Self:
        self._places.enter_context(use_registry(_Everywhere(self._rules)))
        self._places.enter_context(use_transport(_SyncWay(self), _AsyncWay(self)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._places.close()
        if error is None and self._undeclared:
            raise self._undeclared[0]


def fake_services() -> FakeServices:
    """Return fakes for all other services, to be used with ``with``."""
    return FakeServices()


class _Everywhere(Registry):
    """Finds every service, so that it is the rules that decide."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules

    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        return {rule.service: self.instances(rule.service) for rule in self._rules}

    def instances(self, service: str) -> tuple[Instance, ...]:
        return (Instance(id=f"{service}-fake", url=f"http://{service}.invalid"),)


class _SyncWay(Transport):
    def __init__(self, fake: FakeServices) -> None:
        self._fake = fake

    def send(self, request: Request) -> Response:
        return self._fake.handle(request)

    def pause(self, seconds: float) -> None:
        self._fake.pauses.append(seconds)


class _AsyncWay(AsyncTransport):
    def __init__(self, fake: FakeServices) -> None:
        self._fake = fake

    async def send(self, request: Request) -> Response:
        return self._fake.handle(request)

    async def pause(self, seconds: float) -> None:
        self._fake.pauses.append(seconds)


def _recorded(request: Request) -> RecordedCall:
    parts = urlsplit(request.url)
    return RecordedCall(
        service=request.service,
        method=request.method,
        path=parts.path,
        params=parse_qs(parts.query, keep_blank_values=True),
        json=msgspec.json.decode(request.body) if request.body else None,
        headers=Headers(request.headers.items()),
    )


def _pattern(path: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", path)  # text, name, text, name, …, text
    return re.compile(
        "".join(f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


def _failure(raises: Failure, call: RecordedCall) -> Exception:
    if isinstance(raises, Exception):
        return raises
    text = f"{call}: the test says so"
    if raises in _CAUSES:
        return _CAUSES[raises](text)
    if issubclass(raises, ServiceCallError):
        return raises(text, service=call.service)
    return raises(text)
