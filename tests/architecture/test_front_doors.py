import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import bandstand
from bandstand.exceptions import BandstandError

ROOT = Path(bandstand.__file__).parent
# A room is a folder with a front door; these are no rooms: folders of one backend, and command line entry points.
NOT_ROOMS = {"postgresql", "cli", "workspace", "management"}
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in NOT_ROOMS)


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"bandstand.{request.param}")


def test_every_room_is_seen() -> None:
    """The list above finds the rooms of the design, so that no check below runs on nothing."""
    assert {"context", "health", "identity", "discovery", "client", "events", "cache", "api", "conf"} <= set(ROOMS)


def test_the_front_door_is_a_map(room: ModuleType) -> None:
    """Each room explains itself in its docstring and lists what it offers."""
    assert len((room.__doc__ or "").split()) > 10
    assert room.__all__


def test_all_tells_the_truth(room: ModuleType) -> None:
    """Each name in __all__ exists, and each public class and function that is imported is in __all__."""
    missing = [name for name in room.__all__ if not hasattr(room, name)]
    assert missing == []
    unlisted = [
        name
        for name, value in vars(room).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and name not in room.__all__
    ]
    assert unlisted == []


def test_public_names_have_docstrings(room: ModuleType) -> None:
    """Each public class and function says what it does."""
    bare = [
        name
        for name in room.__all__
        if (inspect.isclass(value := getattr(room, name)) or inspect.isfunction(value)) and not value.__doc__
    ]
    assert bare == []


def test_each_error_has_a_code_of_its_own() -> None:
    """Machines tell the errors apart by their code."""
    errors = [
        value
        for value in vars(importlib.import_module("bandstand.exceptions")).values()
        if inspect.isclass(value) and issubclass(value, BandstandError)
    ]
    codes = [error.code for error in errors]
    assert len(codes) == len(set(codes))
