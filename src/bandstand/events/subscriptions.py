"""Who handles what: ``@subscribe`` and the registry of this service's subscriptions."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from threading import Lock
from typing import Any, Final, TypeVar

import msgspec
from django.apps import apps
from django.utils.module_loading import module_has_submodule

from bandstand.events.envelope import Message
from bandstand.events.errors import HandlerNotRun, describe
from bandstand.events.event import Event
from bandstand.events.publications import PUBLICATIONS
from bandstand.exceptions import ConfigurationError, InvalidEvent
from bandstand.structs import build_type

__all__ = ["REGISTRY", "Registry", "Subscription", "autodiscover", "check_name", "check_pattern", "subscribe"]

F = TypeVar("F", bound=Callable[..., object])

_PATTERN: Final = re.compile(r"([a-z][a-z0-9_]*|\*)(\.([a-z][a-z0-9_]*|\*))+")
_MAX_BATCH: Final = 1000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")


class Subscription:
    """One handler with what it subscribes to. Inbox, retries and dead letters are kept for each by its ``name``."""

    def __init__(
        self,
        *,
        name: str,
        pattern: str,
        handler: Callable[..., object],
        source: str | None = None,
        batch: int | None = None,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.handler = handler
        self.source = source
        self.batch = batch
        self.views, self._wants_message = _signature(handler, batch=batch)
        self._check_type()
        for view in self.views:
            build_type(view)
        self._decoders = {_version(view): msgspec.json.Decoder(view) for view in self.views}
        self._expression = re.compile(re.escape(pattern).replace(r"\*", "[a-z0-9_]+"))

    def _check_type(self) -> None:
        for view in self.views:
            declared = view.__event_type__ if issubclass(view, Event) else ""
            if declared and "*" not in self.pattern and declared != self.pattern:
                raise ConfigurationError(
                    f"{_place(self.handler)} subscribes to {self.pattern!r}, but reads it as {view.__name__}, "
                    f"which is {declared!r}. Subscribe to that, or declare a view with type={self.pattern!r}."
                )
        if len({_version(view) for view in self.views}) < len(self.views):
            raise ConfigurationError(
                f"{_place(self.handler)} has several views of one version; give it one for each version."
            )

    def matches(self, event_type: str) -> bool:
        """Say whether events of that type are for this subscription; ``*`` stands for one word."""
        return self._expression.fullmatch(event_type) is not None

    def decode(self, message: Message, data: bytes) -> Any:
        """Return the consumer's own view of the event.

        Raises:
            InvalidEvent: another service says so than may, no view is of its version, or the data do not fit it.
        """
        if self.source is not None and message.source != self.source:
            raise InvalidEvent(
                f"{message.type} comes from {message.source}, "
                f"but {_place(self.handler)} takes it from {self.source} alone."
            )
        decoder = self._decoders.get(message.version) or self._decoders.get(None)
        if decoder is None:
            known = " and ".join(f"{view.__name__} reads {_version(view)}" for view in self.views)
            raise InvalidEvent(
                f"{message.type} has version {message.version}, but {known}. Add a view of that version to the "
                f"annotation of {_place(self.handler)} (event: Old | New), then replay the event."
            )
        try:
            return decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEvent(f"{message.type} does not fit {decoder.type.__name__}: {error}") from error
        except Exception as error:  # of the application's own ``__post_init__``
            raise InvalidEvent(f"{message.type} does not fit {decoder.type.__name__}: {describe(error)}") from error

    def call(self, event: Any, message: Message) -> None:
        """Run the handler; one that takes batches gets a batch of one."""
        if self.batch:
            self.call_together([event], [message])
        else:
            self._call(event, message)

    def call_together(self, events: list[Any], messages: list[Message]) -> None:
        """Run a handler that takes batches."""
        self._call(events, messages)

    def _call(self, event: Any, message: Any) -> None:
        result = self.handler(event, message) if self._wants_message else self.handler(event)
        if result is not None and _is_lazy(result):
            if inspect.iscoroutine(result):
                result.close()  # or Python warns that it was never awaited
            raise HandlerNotRun(
                f"{_place(self.handler)} returned a {type(result).__name__}, whose code has not run. A handler does "
                f"its work before it returns."
            )


class Registry:
    """The subscriptions of a service, by name."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[Subscription]:
        with self._lock:
            return iter(tuple(self._subscriptions.values()))

    def get(self, name: str) -> Subscription | None:
        """Return the subscription of that name, if there is one."""
        return self._subscriptions.get(name)

    def add(self, subscription: Subscription) -> None:
        """Add ``subscription``; the same handler again is no change.

        Raises:
            ConfigurationError: another handler has the name.
        """
        with self._lock:
            known = self._subscriptions.setdefault(subscription.name, subscription)
        if known is not subscription and _place(known.handler) != _place(subscription.handler):
            raise ConfigurationError(
                f"Two handlers subscribe as {subscription.name!r}: {_place(known.handler)} and "
                f"{_place(subscription.handler)}. Give one of them another name: @subscribe(…, name=…)."
            )

    def remove(self, name: str) -> None:
        """Forget the subscription of that name."""
        with self._lock:
            self._subscriptions.pop(name, None)


REGISTRY: Final = Registry()


def subscribe(
    pattern: str, *, name: str | None = None, source: str | None = None, batch: int | None = None
) -> Callable[[F], F]:
    """Let a function handle the events of a type::

        @subscribe("user.created")
        def welcome(event: UserCreated, message: Message) -> None: ...

    ``pattern`` is a type, or has ``*`` for one of its words: ``order.*``. The annotation of the first parameter is
    the consumer's own ``Event`` class (or ``dict``, for the data as they are); for events of several versions it is
    one class for each: ``event: UserCreated | UserCreatedV2``. The second parameter is optional. The handler runs in a
    transaction that also holds its inbox row.

    ``name`` is what the broker and the inbox know the subscription by: module and function unless given. With
    another name it is another subscription, which begins with all events that the broker still keeps: give the old
    name when you rename the function.

    ``source`` is the service that may say so: an event of that type from any other is a dead letter. Without it every
    service of the platform is believed.

    ``batch`` is for handlers that work on many events at once, at most so many (2 to 1000) in one transaction::

        @subscribe("user.created", batch=50)
        def count(events: list[UserCreated], messages: list[Message]) -> None: ...

    It gets what has gathered, in order for each key, at least one. When it raises, each of them is handled anew in a
    transaction of its own, as a list of one, so that one bad event costs only itself.

    Raises:
        ConfigurationError: the pattern, the name, the batch or the handler's signature is wrong.
    """
    check_pattern(pattern, f"@subscribe({pattern!r})")

    def decorate(handler: F) -> F:
        REGISTRY.add(
            Subscription(
                name=_checked_name(handler, name), pattern=pattern, handler=handler, source=source, batch=batch
            )
        )
        return handler

    return decorate


def autodiscover() -> None:
    """Import the module ``events`` of each installed app that has one, so that its handlers subscribe."""
    for config in apps.get_app_configs():
        if config.module is not None and module_has_submodule(config.module, "events"):
            import_module(f"{config.name}.events")
    PUBLICATIONS.settle(view for subscription in REGISTRY for view in subscription.views)


def check_pattern(pattern: str, who: str) -> None:
    """See that ``pattern`` is the type of an event, or one with ``*`` for a word.

    Raises:
        ConfigurationError: it is not; the text begins with ``who``.
    """
    if _PATTERN.fullmatch(pattern) is None:
        raise ConfigurationError(
            f'{who}: write an event type ("order.placed"), or one with * for a word ("order.*"), not {pattern!r}.'
        )


def check_name(name: str, who: str) -> None:
    """See that brokers and tables take ``name`` for a subscription.

    Raises:
        ConfigurationError: they don't; the text begins with ``who``.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{who} subscribes as {name!r}; give a name of at most 80 lower-case letters, digits, '.', '_' and '-': "
            f"@subscribe(…, name=…)."
        )


def _checked_name(handler: Callable[..., object], name: str | None) -> str:
    name = name or f"{handler.__module__.removesuffix('.events')}.{handler.__name__}".lower()
    check_name(name, _place(handler))
    return name


def _place(handler: Callable[..., object]) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"


def _is_lazy(result: object) -> bool:
    return inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result)


def _version(view: type[Any]) -> int | None:
    """The only version that ``view`` reads, or None if it reads all."""
    return view.__event_version__ if issubclass(view, Event) and view.__event_type__ else None


def _signature(handler: Callable[..., object], *, batch: int | None) -> tuple[tuple[type[Any], ...], bool]:
    """Return the views that the handler wants and whether it wants the message too."""
    if batch is not None and not 2 <= batch <= _MAX_BATCH:
        raise ConfigurationError(
            f"{_place(handler)} takes batches of {batch}; write batch=50, or another number from 2 to {_MAX_BATCH}."
        )
    if not inspect.isroutine(handler):
        raise ConfigurationError(f"{handler!r:.200} can't handle events: @subscribe stands above a function.")
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigurationError(f"{_place(handler)} is async; handlers run on threads. Write `def`, not `async def`.")
    if inspect.isgeneratorfunction(handler):
        raise ConfigurationError(f"{_place(handler)} is a generator, so calling it runs nothing. Leave `yield` out.")
    parameters = list(inspect.signature(handler).parameters.values())
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    required = [p for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
    if not positional or len(required) > 2 or len(required) > len(positional):
        raise ConfigurationError(
            f"{_place(handler)} must take (event) or (event, message); with batch=…, (events) or (events, messages)."
        )
    hint = _hint(handler, positional[0])
    return _views(handler, hint if batch is None else _listed(handler, hint, batch)), len(required) == 2


def _hint(handler: Callable[..., object], parameter: inspect.Parameter) -> Any:
    """Resolve only the first annotation: others may name what is imported for type checkers alone."""
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=getattr(handler, "__globals__", {})).get(parameter.name)
    except NameError as error:
        raise ConfigurationError(
            f"The annotation of {parameter.name!r} in {_place(handler)} can't be resolved: {error}. "
            f"Import the class where it is there at run time, not under TYPE_CHECKING."
        ) from error


def _listed(handler: Callable[..., object], hint: Any, batch: int) -> Any:
    """What a batch is a list of."""
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0]
    raise ConfigurationError(
        f"{_place(handler)} takes batches (batch={batch}), so its first parameter is a list of events: "
        f"events: list[OrderPlaced]."
    )


def _views(handler: Callable[..., object], hint: Any) -> tuple[type[Any], ...]:
    several = typing.get_origin(hint) in {typing.Union, types.UnionType}
    views = tuple(_plain(each) for each in (typing.get_args(hint) if several else (hint,)))
    if all(_is_view(view) for view in views) and not (several and dict in views):
        return views
    if typing.get_origin(hint) is list:
        raise ConfigurationError(
            f"{_place(handler)} takes a list of events; declare how many at most: @subscribe(…, batch=50)."
        )
    raise ConfigurationError(
        f"The first parameter of {_place(handler)} needs an annotation that says how to read the event: "
        f"a class of your own (class OrderPlaced(Event, type=…, version=1)), one for each version, or dict."
    )


def _plain(hint: Any) -> Any:
    plain = typing.get_origin(hint) or hint
    return dict if isinstance(plain, type) and issubclass(plain, dict) else plain


def _is_view(plain: Any) -> bool:
    return isinstance(plain, type) and plain is not Event and issubclass(plain, (Event, dict))
