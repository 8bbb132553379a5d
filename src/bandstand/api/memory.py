"""A system check that adds up the memory that all request threads of a process may need at once."""

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.hashers import BasePasswordHasher, get_hasher
from django.core.checks import CheckMessage, Error, Tags, register

from bandstand.conf import get_settings

__all__ = ["check_memory"]

_MEBIBYTE: Final = 1024 * 1024
_PROCESS: Final = 160  # MiB: Django, REST framework, drivers, and an application of some size
_COPIES: Final = 8  # a JSON body is bytes, text, and Python objects, which are several times as large


@register(Tags.security)
def check_memory(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return an error when requests that need no account could use more memory than the process has.

    The limit is ``BANDSTAND_MEMORY``, which the exporters set; without it there is nothing to check.
    """
    limit = get_settings().api.memory
    parts = list(_parts())
    needed = sum(mebibytes for _, mebibytes in parts)
    if not limit or needed <= limit:
        return []
    added = " + ".join(f"{mebibytes:.0f} MiB {what}" for what, mebibytes in parts)
    return [
        Error(
            f"All threads at once may need {needed:.0f} MiB ({added}), but the process has {limit}.",
            hint="Give the service more memory in bandstand.toml, fewer threads, or lower limits; for passwords use "
            "bandstand.identity.hashers.Argon2PasswordHasher.",
            id="bandstand.api.E005",
        )
    ]


def _parts() -> Iterator[tuple[str, float]]:
    limits = get_settings().api
    yield "for the process itself", _PROCESS
    yield f"for {limits.threads} bodies", limits.threads * limits.max_body_bytes * _COPIES / _MEBIBYTE
    if "django.contrib.auth" in settings.INSTALLED_APPS:
        hasher = get_hasher()
        at_once = min(limits.threads, getattr(hasher, "at_once", limits.threads))
        yield f"for {at_once} passwords", at_once * _hash_size(hasher) / _MEBIBYTE


def _hash_size(hasher: BasePasswordHasher) -> float:
    """Return the bytes that one hash takes: of Argon2 its memory cost, of scrypt 128 times work factor times block."""
    if hasher.algorithm == "argon2":
        return float(getattr(hasher, "memory_cost", 0)) * 1024
    if hasher.algorithm == "scrypt":
        return 128.0 * getattr(hasher, "work_factor", 0) * getattr(hasher, "block_size", 0)
    return 0.0
