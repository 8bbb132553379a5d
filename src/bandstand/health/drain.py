"""Leaving: readiness says no, so that nobody sends new requests, while those in flight are answered."""

from threading import Event
from typing import Final

__all__ = ["is_draining", "start_draining"]

_draining: Final = Event()


def start_draining() -> None:
    """Answer 503 at ``/health/ready/`` from now on. Everything else goes on as before."""
    _draining.set()


def is_draining() -> bool:
    """Say whether the process is leaving."""
    return _draining.is_set()
