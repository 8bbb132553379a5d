"""The streams of a platform in NATS JetStream, and what a service may do there.

All services publish to one stream, each on subjects of its own. What comes for a service is copied by the server into
a stream of its own (a *source* in JetStream's words), where its consumers are: so no service can read, acknowledge or
change what is on its way to another.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from bandstand.exceptions import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from nats.aio.client import Client

__all__ = [
    "declare_streams",
    "inbound_stream",
    "inbox_prefix",
    "permissions",
    "published_stream",
    "stream_configurations",
]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_RETENTION: Final = 7 * 24 * 3600 * 1_000_000_000  # nanoseconds
_DUPLICATE_WINDOW: Final = 120 * 1_000_000_000
_MAX_CONSUMERS: Final = 1000  # of one service: a bound for one that goes wrong
_TIMEOUT: Final = 5.0
_PORT: Final = 4222
_NOT_FOUND: Final = 404
_SOURCE: Final = "Nats-Stream-Source"  # of a message that was copied: the stream, its number there, and more


def published_stream(platform: str) -> str:
    """Return the name of the stream to which all services of ``platform`` publish."""
    return f"{_checked('platform', platform)}-events"


def inbound_stream(platform: str, service: str) -> str:
    """Return the name of the stream with the events that ``service`` may read."""
    return f"{published_stream(platform)}-{_checked('service', service)}"


def inbox_prefix(service: str) -> str:
    """Return the beginning of the subjects on which ``service`` gets answers."""
    return f"_INBOX.{_checked('service', service)}"


def permissions(platform: str, service: str) -> dict[str, Any]:
    """Return the permissions of the service's user, as NATS' configuration has them."""
    stream = inbound_stream(platform, service)
    requests = (
        f"STREAM.INFO.{stream}",
        f"CONSUMER.CREATE.{stream}.>",
        f"CONSUMER.DURABLE.CREATE.{stream}.*",
        f"CONSUMER.INFO.{stream}.*",
        f"CONSUMER.DELETE.{stream}.*",
        f"CONSUMER.MSG.NEXT.{stream}.*",
    )
    publish = [f"{platform}.events.{service}.>", *(f"$JS.API.{each}" for each in requests), f"$JS.ACK.{stream}.>"]
    return {"publish": {"allow": publish}, "subscribe": {"allow": [f"{inbox_prefix(service)}.>"]}}


def stream_configurations(platform: str, services: Iterable[str], *, replicas: int = 1) -> list[dict[str, Any]]:
    """Return the configurations of all streams, the shared one first, as JetStream's API takes them."""
    shared = published_stream(platform)
    common: dict[str, Any] = {"storage": "file", "retention": "limits", "discard": "old", "max_age": _RETENTION}
    common["num_replicas"] = replicas
    return [
        {"name": shared, "subjects": [f"{platform}.events.>"], "duplicate_window": _DUPLICATE_WINDOW, **common},
        *(
            {
                "name": inbound_stream(platform, service),
                "sources": [{"name": shared}],
                "max_consumers": _MAX_CONSUMERS,
                **common,
            }
            for service in services
        ),
    ]


async def declare_streams(url: str, platform: str, services: Collection[str], *, replicas: int = 1) -> tuple[str, ...]:
    """Make the streams that are missing, as the administrator whom ``url`` names; return their names.

    One that exists keeps its configuration, which is the operator's. ``replicas`` is on how many servers of a cluster
    each is kept.

    Raises:
        BrokerError: NATS can't be reached, or refuses; the text says why.
    """
    import nats  # noqa: PLC0415 - a driver, imported when it is needed
    from nats.errors import Error  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or _PORT}"
    try:
        client = await nats.connect(
            f"{parts.scheme}://{place}",
            name="topology",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            connect_timeout=int(_TIMEOUT),
            error_cb=_ignore,
        )
    except (OSError, Error) as error:
        raise BrokerError(f"NATS at {place} can't be used: {str(error) or type(error).__name__}") from error
    try:
        made = [
            configuration["name"]
            for configuration in stream_configurations(platform, services, replicas=replicas)
            if await _declare(client, configuration, platform, services)
        ]
    except (TimeoutError, OSError, Error) as error:
        raise BrokerError(f"NATS at {place} does not answer: {str(error) or type(error).__name__}") from error
    finally:
        await client.close()
    return tuple(made)


async def _declare(client: Client, configuration: Mapping[str, Any], platform: str, services: Collection[str]) -> bool:
    name = configuration["name"]
    found = await _ask(client, f"STREAM.INFO.{name}")
    if not _is_missing(found):
        _refuse(found, name)
        return False
    first = 1
    if "sources" not in configuration:
        first = await _next_number(client, platform, services)
    wanted = {**configuration, **({"first_seq": first} if first > 1 else {})}
    _refuse(await _ask(client, f"STREAM.CREATE.{name}", wanted), name)
    return True


async def _next_number(client: Client, platform: str, services: Iterable[str]) -> int:
    """Return the number with which a shared stream that was deleted has to begin.

    Those that copy it go on behind the last number that they have seen, so one that began with 1 again would not be
    copied for a long time.
    """
    numbers = [await _last_copied(client, inbound_stream(platform, service)) for service in services]
    return max(numbers, default=0) + 1


async def _last_copied(client: Client, stream: str) -> int:
    found = await _ask(client, f"STREAM.MSG.GET.{stream}", {"last_by_subj": ">"})
    if "message" not in found:
        return 0
    header = _header(found["message"].get("hdrs", ""))
    words = header.get(_SOURCE, "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _header(encoded: str) -> dict[str, str]:
    lines = b64decode(encoded).decode(errors="replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


async def _ask(client: Client, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    payload = json.dumps(body).encode() if body is not None else b""
    answer = await client.request(f"$JS.API.{request}", payload, timeout=_TIMEOUT)
    found: dict[str, Any] = json.loads(answer.data)
    return found


def _is_missing(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("error", {}).get("code") == _NOT_FOUND)


def _refuse(answer: Mapping[str, Any], name: str) -> None:
    if error := answer.get("error"):
        raise BrokerError(f"NATS refuses the stream {name}: {error.get('description', error)}")


async def _ignore(_: Exception) -> None:
    """Drop an error that the call itself raises; the client would only print it."""


def _checked(what: str, value: str) -> str:
    if _TOKEN.fullmatch(value) is None:
        raise ConfigurationError(
            f"The {what} is called {value!r}; in NATS that can only have letters, digits, '-' and '_'."
        )
    return value
