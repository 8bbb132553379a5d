import inspect
import os
import subprocess
import sys
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from bandstand.cache.keys import arguments, digest
from bandstand.exceptions import UnstableKey


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Weight(Enum):
    SMALL = "s"


VALUES = [
    None, True, False, 0, 1, 1.0, "1", b"1", "", (), [], {}, set(), (1,), [1], {1}, {"a": 1}, {"a": None}, {"a": 1.0},
    Decimal(1), Decimal("1.0"), UUID(int=1), Size.SMALL, Size.LARGE, Weight.SMALL, "s", [[1], 2], [1, [2]], ("a", "b"),
    (Size.SMALL,),
]  # fmt: skip


def test_different_values_have_different_keys() -> None:
    """Also those that Python takes for equal, and an enumeration and its value."""
    assert len({digest(value) for value in VALUES}) == len(VALUES)


def test_keys_are_the_same_in_every_process() -> None:
    """Whatever PYTHONHASHSEED is: the tutorial's hash(str(args)) is another number in each process."""
    code = "from bandstand.cache.keys import digest; print(digest({'b': {'x', 'y', 'zz'}, 'a': (1, None, 'text')}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(seen) == 1


@pytest.mark.parametrize("value", [object(), lambda: 1, [object()], {"a": object()}, Size, ...])
def test_an_object_makes_no_key(value: Any) -> None:
    """Its only form would be its address; the error says what to pass instead."""
    with pytest.raises(UnstableKey, match="Pass the id"):
        digest(value)


def test_each_way_to_write_a_call_is_one_call() -> None:
    """By position, by name, with a default or without."""

    def function(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> None: ...

    signature = inspect.signature(function)
    calls = [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((), {"c": 3, "b": 2, "a": 1})]
    assert len({digest(arguments(signature, args, kwargs)) for args, kwargs in calls}) == 1
    assert digest(arguments(signature, (1, 2, 5), {})) != digest(arguments(signature, (1, 2), {"d": 5}))
    with pytest.raises(TypeError):
        arguments(signature, (), {})
