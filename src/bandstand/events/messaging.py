"""``MessagePublisher`` and ``MessageConsumer``: names that tutorials with pika use, on the machinery of this room.

They are thin: what they do can be done with ``publish`` and ``@subscribe``, which check more and say more. They exist
so that a service that was written with such classes can be moved with few changed lines.
"""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from threading import current_thread, main_thread
from typing import Any, Final, Self

from django.utils.module_loading import import_string

from bandstand.conf import get_settings
from bandstand.events.envelope import Message
from bandstand.events.publishing import publish_data
from bandstand.events.subscriptions import REGISTRY, Registry, Subscription, check_name, check_pattern
from bandstand.exceptions import ConfigurationError, InvalidEvent

__all__ = ["MessageConsumer", "MessagePublisher"]

Callback = Callable[..., object]
"""Takes the data as a dictionary, and the ``Message`` too if it has a second parameter."""

_WHERE: Final = (
    "takes no host, URL or credentials: every process of the service finds the broker by the variable BROKER_URL."
)
_PIKA: Final = 4  # (channel, method, properties, body)


class MessagePublisher:
    """Publishes dictionaries, in the transaction of the caller::

        with transaction.atomic():
            user.save()
            MessagePublisher().publish("user.created", {"user_id": str(user.pk)}, key=str(user.pk))

    It has no connection: the message is a row of the outbox, which ``manage.py worker`` relays. So there is nothing to
    connect or close, and the broker may be down; ``connect``, ``close`` and ``with`` are there for the code that has
    them.

    Raises:
        ConfigurationError: it is told where the broker is.
    """

    def __init__(self, *arguments: object, **options: object) -> None:
        if arguments or options:
            raise ConfigurationError(f"MessagePublisher {_WHERE}")

    def publish(
        self,
        routing_key: str,
        message: Mapping[str, Any],
        *more: object,
        key: str | None = None,
        version: int = 1,
    ) -> str:
        """Publish ``message`` as an event of the type ``routing_key`` when the transaction commits; return its id.

        ``key`` is the id of what it is about: messages of one key stay in order. Where the service declares an
        ``Event`` of that type and version, the message must fit it.

        Raises:
            NotInTransaction: there is no transaction that the message could belong to.
            InvalidEvent: the routing key is no event's type, or the message is no dictionary that can be written as
                JSON, does not fit the declared event, or is too large.
        """
        if more or not isinstance(message, Mapping):
            raise InvalidEvent(
                'publish() takes a routing key and a dictionary: publish("user.created", {"user_id": …}). Leave the '
                "exchange out, the platform has one; and do not encode the message, it is written as JSON."
            )
        return publish_data(message, routing_key, key=key, version=version)

    publish_event = publish

    def connect(self) -> None:
        """There is nothing to do."""

    def close(self) -> None:
        """There is nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class MessageConsumer:
    """Subscribes a callback to types of events, in the place of a queue::

        MessageConsumer("order_queue", on_user, routing_keys=["user.created", "user.deleted"])

    Written in the ``events.py`` of an app it is a subscription like any other: ``manage.py worker`` runs it, with the
    inbox row in the callback's transaction, retries with backoff, and dead letters. ``start_consuming`` runs a worker
    for its own subscriptions alone, where a command of the service calls it.

    ``queue_name`` names the subscription, so keep it; with several routing keys there is one subscription for each,
    named ``queue_name.routing_key``. A routing key may have ``*`` for one word.

    Raises:
        ConfigurationError: a name, a routing key or the callback's signature is wrong.
    """

    def __init__(
        self,
        queue_name: str,
        callback: Callback | None = None,
        *,
        routing_keys: Iterable[str] = (),
        source: str | None = None,
        **options: object,
    ) -> None:
        if options:
            raise ConfigurationError(f"MessageConsumer {_WHERE} Not known: {', '.join(sorted(options))}.")
        if isinstance(routing_keys, str):
            raise ConfigurationError(f"routing_keys is a list: routing_keys=[{routing_keys!r}].")
        self._queue = queue_name
        self._source = source
        self._own = Registry()
        keys = list(routing_keys)
        if callback is None and keys:
            raise ConfigurationError(f"The consumer {queue_name!r} has routing keys, but no callback for them.")
        for routing_key in keys:
            name = queue_name if len(keys) == 1 else _joined(queue_name, routing_key)
            self._add(name, routing_key, callback)

    def register_handler(self, routing_key: str, callback: Callback) -> None:
        """Subscribe one more callback, as ``queue_name.routing_key``.

        Raises:
            ConfigurationError: the routing key or the callback's signature is wrong, or the name is taken.
        """
        self._add(_joined(self._queue, routing_key), routing_key, callback)

    def start_consuming(self) -> None:
        """Handle what comes for this consumer, and relay what its callbacks publish, until SIGTERM or SIGINT.

        The same as ``manage.py worker``, for these subscriptions alone; any number of such processes may run.

        Raises:
            ConfigurationError: there is nothing to consume, or this is not the main thread of a process.
        """
        if not list(self._own):
            raise ConfigurationError(
                f"Nothing says what the consumer {self._queue!r} consumes: "
                f'MessageConsumer({self._queue!r}, callback, routing_keys=["user.created"]).'
            )
        if current_thread() is not main_thread():
            raise ConfigurationError(
                "start_consuming() works until the process is told to end, so it needs one of its own: run "
                "`manage.py worker` beside the web server, not a thread inside of it."
            )
        # By name, since the front door imports this module before Django has made the models.
        import_string("bandstand.events.worker.Worker")(get_settings(), registry=self._own).run()

    def _add(self, name: str, routing_key: str, callback: Callback | None) -> None:
        check_pattern(routing_key, f"The consumer {self._queue!r}")
        check_name(name, f"The consumer {self._queue!r}")
        handler = _handler(callback, self._queue)
        subscription = Subscription(name=name, pattern=routing_key, handler=handler, source=self._source)
        REGISTRY.add(subscription)
        self._own.add(subscription)


def _joined(queue_name: str, routing_key: str) -> str:
    """A name has no asterisk."""
    return f"{queue_name}.{routing_key.replace('*', 'any')}"


def _handler(callback: Callback | None, queue_name: str) -> Callback:
    """What a subscription calls, known to it by the callback's own name."""
    if not callable(callback):
        raise ConfigurationError(f"The consumer {queue_name!r} needs a function as its callback, not {callback!r}.")
    wanted = _parameters(callback)
    if wanted >= _PIKA:
        raise ConfigurationError(
            f"The callback of {queue_name!r} takes what pika gives (channel, method, properties, body). Write "
            f"`def callback(message: dict)`, without json.loads and basic_ack: it gets the data, and the message is "
            f"settled when the transaction commits."
        )
    if wanted not in {1, 2}:
        raise ConfigurationError(
            f"The callback of {queue_name!r} must take the data, or the data and the Message: "
            f"`def callback(message: dict, about: Message)`."
        )

    def handle(event: dict[str, Any], message: Message) -> None:
        callback(*(event, message)[:wanted])

    handle.__module__ = callback.__module__
    handle.__qualname__ = getattr(callback, "__qualname__", type(callback).__qualname__)
    return handle


def _parameters(callback: Callback) -> int:
    """How many arguments the callback must have."""
    positional = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
    parameters = [each for each in signature(callback).parameters.values() if each.kind in positional]
    return len([each for each in parameters if each.default is each.empty]) or min(1, len(parameters))
