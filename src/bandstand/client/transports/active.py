"""The transports of this process: those of the libraries, or one put in place for a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from django.utils.module_loading import import_string

from bandstand.client.targets import forget_targets
from bandstand.client.transports.base import AsyncTransport, Transport

__all__ = ["async_transport", "transport", "use_transport"]

_SYNC: Final = "bandstand.client.transports.curl.CurlTransport"
_ASYNC: Final = "bandstand.client.transports.aiohttp.AiohttpTransport"

_Pair = tuple[Transport, AsyncTransport]
_in_place: Final[list[_Pair]] = []


def transport() -> Transport:
    """Return the transport of all ``ServiceClient`` calls."""
    return _in_place[-1][0] if _in_place else _sync()


def async_transport() -> AsyncTransport:
    """Return the transport of all ``AsyncServiceClient`` calls; its library comes with ``bandstand[async]``."""
    return _in_place[-1][1] if _in_place else _async()


@contextmanager
def use_transport(sync: Transport, asynchronous: AsyncTransport) -> Iterator[None]:
    """Put these in place of the real ones for a ``with`` block, in all threads: for tests.

    What was learnt of services before is forgotten, and afterwards what was learnt in the block.
    """
    pair = (sync, asynchronous)
    _in_place.append(pair)
    forget_targets()
    try:
        yield
    finally:
        _in_place.remove(pair)
        forget_targets()


@cache
def _sync() -> Transport:
    made: Transport = import_string(_SYNC)()
    return made


@cache
def _async() -> AsyncTransport:
    made: AsyncTransport = import_string(_ASYNC)()
    return made
