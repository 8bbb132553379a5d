"""Password hashing for small containers, for ``PASSWORD_HASHERS`` of a service that stores passwords.

Django's Argon2 takes 100 MiB and eight threads for each password, so three requests at once, which need no account,
end a process that has 384 MiB. OWASP's password storage cheat sheet asks for at least 19 MiB, two passes and one lane.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Final

from django.contrib.auth import hashers

from bandstand.exceptions import Overloaded

__all__ = ["Argon2PasswordHasher"]

_AT_ONCE: Final = 2
_WAIT: Final = 2.0  # seconds for one of the two; a hash takes some 30 ms
_running: Final = BoundedSemaphore(_AT_ONCE)


class Argon2PasswordHasher(hashers.Argon2PasswordHasher):
    """Django's with 19 MiB, two passes and one lane, and at most two hashes at once in a process.

    Hashes with other parameters are verified as they are, and made anew when their user signs in.
    """

    time_cost = 2
    memory_cost = 19_456  # KiB
    parallelism = 1
    at_once = _AT_ONCE

    def encode(self, password: str, salt: str) -> str:
        """Return the hash of ``password``.

        Raises:
            Overloaded: too many others are being made.
        """
        with _place():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether ``encoded`` is a hash of ``password``.

        Raises:
            Overloaded: too many others are being made.
        """
        with _place():
            return super().verify(password, encoded)


@contextmanager
def _place() -> Iterator[None]:
    if not _running.acquire(timeout=_WAIT):
        raise Overloaded(f"No place was free for {_WAIT:g} s among the {_AT_ONCE} passwords that are hashed at once.")
    try:
        yield
    finally:
        _running.release()
