"""Lines of values in TOML, also where the source is awkward."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.workspace.manifest.positions import Positions, Steps

AWKWARD = r"""# a comment with [brackets] and "quotes"
title = "a # in a string, and a \" quote" # comment = 1

[ a . "quoted.key" . 'literal key' ] # [not.a.header]
"with \u0041 escape" = 1
dotted . "k e y".deep = [ # comment ]
  1, # one
  [2,
   3],

  { x = 1, "y z" = [ "]", '}' ] }, ]
text = TRIPLE
[not.a.table]
key = "no"
\TRIPLE still inside, and two quotes at the end ""TRIPLE
literal = '''
[[nor.this]]
'' two quotes'''
after = 1979-05-27 07:32:00

[[list]]
name = "first"
[list.inner]
deep = true
[[list.more]]
n = 1
[[list.more]]
n = 2
[[list]]

[list.inner]
deep = false
[last]
empty = []
nothing = {}
x.y = 1
x.z = 2
""".replace("TRIPLE", '"""')


def line_of(text: str) -> int:
    [number] = [number for number, line in enumerate(AWKWARD.split("\n"), 1) if text in line]
    return number


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("title",), "title ="),
        (("a", "quoted.key", "literal key"), "[ a ."),
        (("a", "quoted.key", "literal key", "with A escape"), "escape"),
        (("a", "quoted.key", "literal key", "dotted", "k e y"), "dotted ."),
        (("a", "quoted.key", "literal key", "dotted", "k e y", "deep", 0), "# one"),
        (("a", "quoted.key", "literal key", "dotted", "k e y", "deep", 1, 1), "   3],"),
        (("a", "quoted.key", "literal key", "dotted", "k e y", "deep", 2, "y z", 1), "{ x = 1"),
        (("a", "quoted.key", "literal key", "text"), "text ="),
        (("a", "quoted.key", "literal key", "literal"), "literal ="),
        (("a", "quoted.key", "literal key", "after"), "after ="),
        (("list", 0, "name"), '"first"'),
        (("list", 0, "inner", "deep"), "deep = true"),
        (("list", 0, "more", 1, "n"), "n = 2"),
        (("list", 1, "inner", "deep"), "deep = false"),
        (("last", "empty"), "empty ="),
        (("last", "x", "y"), "x.y"),
        (("last", "x", "z"), "x.z"),
        (("last", "x"), "x.y"),
    ],
)
def test_each_value_has_its_line(steps: Steps, text: str) -> None:
    """Neither quotes nor brackets in strings, comments and keys mislead."""
    value: object = tomllib.loads(AWKWARD)
    for step in steps:
        value = value[step]  # type: ignore[index]
    assert Positions(AWKWARD).line(steps) == line_of(text)


def test_what_is_not_written_has_the_line_of_its_table() -> None:
    """A missing key is reported where it would stand."""
    positions = Positions(AWKWARD)
    assert positions.line(("last", "missing", "deeper")) == line_of("[last]")
    assert (
        positions.line(("list", 1, "missing"))
        == [i for i, text in enumerate(AWKWARD.split("\n"), 1) if text == "[[list]]"][1]
    )
    assert positions.line(("nowhere",)) == 1


def test_an_array_of_tables_has_the_line_of_its_first() -> None:
    """What is said of all elements is said where they begin."""
    assert Positions(AWKWARD).line(("list",)) == AWKWARD.split("\n").index("[[list]]") + 1


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_both_kinds_of_line_ends_count(newline: str) -> None:
    """A file written on Windows has the same line numbers."""
    source = newline.join(["# one", "[two]", "", "four = '''", "five'''", "six = 6"])
    positions = Positions(source)
    assert [positions.line(("two", key)) for key in ("four", "six")] == [4, 6]


# --- any TOML ------------------------------------------------------------------------------------

KEY_FORMS = ("{}", '"{}"', "'{}'", '"{} . = ] #"', "'{} [[\"'")
LEAF_FORMS = (
    *("{}", '"{} ] }} , # = [["', '\'{} """ \\\'', '"{} \\" ]"', '"""{}\n[x]\ny = 1 ""\n"""', "'''{}\n'' ]\n'''"),
    *('"""{}"" """', '"""{}"""""', "'''{}'''''"),
)
SPACES = st.sampled_from(["", " ", "\t"])
BREAKS = st.sampled_from(["", " ", "\n", " # ] [ \" '''\n", "\n\n  "])


class Document:
    """Text that grows; each leaf holds a number of its own, by which its line is found again."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.numbers = iter(range(10_000, 1_000_000))

    def any_of(self, forms: tuple[str, ...]) -> str:
        return self.draw(st.sampled_from(forms)).format(next(self.numbers))

    def key(self) -> str:
        return self.any_of(KEY_FORMS).replace("1", "k", 1) if self.draw(st.booleans()) else self.any_of(KEY_FORMS)

    def value(self, depth: int) -> str:
        kind = self.draw(st.sampled_from(["leaf", "array", "table"])) if depth else "leaf"
        if kind == "leaf":
            return self.any_of(LEAF_FORMS)
        parts = range(self.draw(st.integers(0, 3)))
        if kind == "table":
            return "{" + ",".join(f"{self.draw(SPACES)}{self.pair(depth - 1)} " for _ in parts) + "}"
        elements = [f"{self.draw(BREAKS)}{self.value(depth - 1)}{self.draw(BREAKS)}" for _ in parts]
        return "[" + ",".join(elements) + self.draw(BREAKS) + "]"

    def pair(self, depth: int) -> str:
        dots = f"{self.draw(SPACES)}.{self.draw(SPACES)}"
        key = dots.join(self.key() for _ in range(self.draw(st.integers(1, 3))))
        return f"{key}{self.draw(SPACES)}={self.draw(SPACES)}{self.value(depth)}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    document = Document(draw)
    headers = [document.key() for _ in range(3)]
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["pair", "table", "element"]))
        if kind == "table":
            lines.append(f"[ {document.key()}.{document.key()} ]{draw(BREAKS)}")
        elif kind == "element":
            lines.append(f"[[{draw(st.sampled_from(headers))}]] # [")
        lines += [draw(SPACES) + document.pair(3) + draw(BREAKS) for _ in range(draw(st.integers(0, 2)))]
    return "\n".join(lines)


def leaves(value: object, steps: Steps = ()) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*steps, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, (*steps, index))
    else:
        yield steps, str(value)[:5]


@given(documents())
def test_every_value_of_any_document_has_its_line(source: str) -> None:
    """Whatever the parser accepts, the second walk finds the same values on the lines where they stand."""
    lines = source.split("\n")
    positions = Positions(source)
    for steps, number in leaves(tomllib.loads(source)):
        assert number in lines[positions.line(steps) - 1]
