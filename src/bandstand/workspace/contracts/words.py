"""What a schema allows, in words for people."""

from collections.abc import Iterator

from bandstand.workspace.contracts.shapes import Document, Items, Kinds, Members, Numbers, Schema, Text, Undecidable

__all__ = ["words_for"]

_FORMATS = {
    "uuid": "a UUID",
    "date": "a date",
    "duration": "a duration",
    "decimal": "a decimal number as text",
    "time": "a time with time zone",
    "partial-time": "a time without time zone",
    "any-time": "a time with or without time zone",
    "date-time": "a date and time with time zone",
    "partial-date-time": "a date and time without time zone",
    "any-date-time": "a date and time with or without time zone",
    "base64": "bytes in base64",
}


def words_for(document: Document, schema: Schema) -> str:
    """Return what values ``schema`` allows."""
    try:
        kinds = document.kinds(schema)
    except Undecidable as error:
        return f"something with {error}"
    return "anything" if kinds.anything else " or ".join(_words(document, kinds)) or "nothing"


def _words(document: Document, kinds: Kinds) -> Iterator[str]:
    if kinds.text:
        yield _text(kinds.text)
    decimal = kinds.text is not None and kinds.text.format == "decimal"
    if kinds.whole and not (decimal or kinds.number):
        yield _number(kinds.whole)
    if kinds.number and not decimal:
        yield _number(kinds.number)
    if kinds.boolean:
        yield "true or false"
    if kinds.array:
        yield _array(document, kinds.array)
    if kinds.objects:
        yield _object(document, kinds.objects)
    if kinds.null:
        yield "null"


def _text(text: Text) -> str:
    if text.values is not None:
        return _one_of(tuple(repr(value) for value in text.values))
    said = _FORMATS.get(text.format or "", "text")
    lengths = _range(text.least or None, text.most, "character") if text.format is None else ""
    pattern = f" that matches {text.pattern}" if text.pattern is not None else ""
    return f"{said}{lengths}{pattern}"


def _number(number: Numbers) -> str:
    if number.values is not None:
        return _one_of(tuple(str(value) for value in number.values))
    bounds = (("≥", number.least), (">", number.above), ("≤", number.most), ("<", number.below))
    said = [f"{sign} {value}" for sign, value in bounds if value is not None]
    if number.multiple is not None:
        said.append(f"a multiple of {number.multiple}")
    return " ".join(["a whole number" if number.whole else "a number", " and ".join(said)]).strip()


def _array(document: Document, items: Items) -> str:
    if items.prefix:
        return f"a list of {len(items.prefix)}"
    lengths = _range(items.least or None, items.most, "entry", "entries")
    inner = items.rest if items.rest is not None else {}
    return f"a list{lengths}" if not inner else f"a list{lengths} of {words_for(document, inner)}"


def _object(document: Document, objects: tuple[Members, ...]) -> str:
    if any(members.fields for members in objects):
        return "an object"
    rest = objects[0].rest
    return f"an object with values of {words_for(document, rest)}" if rest else "an object"


def _one_of(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"


def _range(least: int | None, most: int | None, one: str, many: str = "") -> str:
    many = many or f"{one}s"
    if least is not None and most is not None:
        return f" of {least} to {most} {many}"
    if least is not None:
        return f" of at least {least} {one if least == 1 else many}"
    return f" of at most {most} {one if most == 1 else many}" if most is not None else ""
