"""Struct classes of msgspec are built before several threads can be the first to decode them."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bandstand.structs import build_type, is_built

SOURCES = Path(__file__).parents[2] / "src" / "bandstand"
# One thread runs a command; a service's requests and messages are handled by many.
HARMLESS = ("kinds[name]",)  # the kinds of limits, which are numbers
SINGLE_THREADED = ("cli/", "workspace/", "testing/", "management/", "events/management/")
SURVIVES = """
import sys, threading
import msgspec
from bandstand.structs import build_type

sys.setswitchinterval(1e-6)

def struct(name, inner):
    fields = [("one", inner | None, None), ("many", list[inner], []), ("by_name", dict[str, inner], {})]
    return msgspec.defstruct(name, fields)

for number in range(150):
    inner = msgspec.defstruct("Inner", [("number", int, 0)])
    outer = struct("Outer", struct("Middle", inner))
    together = threading.Barrier(4)

    def convert():
        together.wait()
        build_type(outer)
        msgspec.convert({"one": {"one": {"number": 1}, "many": [{}]}, "by_name": {"a": {}}}, outer)

    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_many_threads_may_be_the_first() -> None:
    """The process lives; with the call of build_type removed it dies of a segmentation fault."""
    subprocess.run([sys.executable, "-c", SURVIVES], check=True, capture_output=True)


def modules() -> Iterator[Path]:
    for path in sorted(SOURCES.rglob("*.py")):
        if not path.relative_to(SOURCES).as_posix().startswith(SINGLE_THREADED):
            yield path


def decoded_types(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the type in each call of msgspec.convert(value, type) and msgspec.json.decode(data, type=type)."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="msgspec"), attr="convert"), args=[_, kind]):
                yield kind
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="json"), attr="decode"), keywords=keywords):
                yield from (keyword.value for keyword in keywords if keyword.arg == "type")


def test_every_type_is_built_in_time() -> None:
    """A module that decodes a type made of structs builds it first."""
    late = [
        f"{path}: call build_type({text}) first"
        for path in modules()
        for text in map(ast.unparse, decoded_types(ast.parse(path.read_text())))
        if f"build_type({text})" not in path.read_text() and text not in HARMLESS and holds_structs(path, text)
    ]
    assert late == []


def holds_structs(path: Path, text: str) -> bool:
    """Return whether the type that ``text`` names in a module of the library is made of struct classes."""
    module = importlib.import_module(".".join(["bandstand", *path.relative_to(SOURCES).with_suffix("").parts]))
    return "StructType" in str(msgspec.inspect.type_info(eval(text, vars(module))))


def test_a_type_is_built_once() -> None:
    """One that msgspec does not support is refused, each time; one without a hash is built as well."""
    kind = msgspec.defstruct("Once", [("number", int)])
    assert not is_built(kind)
    build_type(kind)
    assert is_built(kind)
    for _ in range(2):
        with pytest.raises(TypeError):
            build_type(dict[str, int] | list[int] | set[int])
