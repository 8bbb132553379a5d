"""msgspec's types, built before threads share them.

msgspec (0.22) builds the description of a struct class when the class is first decoded or converted, and stores it on
the class before its fields are complete. A second thread that meets it at that moment dereferences NULL, and the
process dies of a segmentation fault. A web process that gets its first requests at once does just that. So every type
of the toolkit is built while its module is imported, and those of applications under one lock.
"""

from collections.abc import Hashable
from threading import Lock
from typing import Any, Final

import msgspec

__all__ = ["build_type", "is_built"]

_lock: Final = Lock()
_built: Final[set[Any]] = set()


def build_type(kind: Any) -> None:
    """Build msgspec's description of ``kind``, a struct class or a type made of some, unless that was done.

    Call it before ``msgspec.convert`` and ``msgspec.json.decode`` wherever several threads may be the first to do so.

    Raises:
        TypeError: msgspec does not support the type.
        NameError: an annotation names something that does not exist.
    """
    if is_built(kind):
        return
    with _lock:
        msgspec.json.Decoder(kind)
    if isinstance(kind, Hashable):
        _built.add(kind)


def is_built(kind: Any) -> bool:
    """Return whether ``build_type`` has built the type; one that has no hash is built each time."""
    return isinstance(kind, Hashable) and kind in _built
