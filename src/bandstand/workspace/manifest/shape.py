"""Checks parsed TOML against the tables, key by key, so that one fault does not hide the next."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

import msgspec

from bandstand.workspace.manifest.positions import Steps
from bandstand.workspace.manifest.tables import KEYS_OF, Manifest

__all__ = ["Fault", "dotted", "shown", "sound", "suggestion"]


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: where, and a text that goes on from the name of the place."""

    steps: Steps
    text: str


def sound(document: Mapping[str, Any]) -> tuple[Manifest, list[Fault]]:
    """Return the sound part of ``document`` as a manifest (defaults stand for the rest) and the faults of the rest."""
    reader = _Reader()
    kept = reader.table(Manifest, document, ())
    return msgspec.convert(kept, Manifest), reader.faults


def dotted(steps: Steps) -> str:
    """Write steps as TOML does: ``services.user-service.routes[0].path``."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _is_bare(step) else shown(step))
    return text


def shown(value: object) -> str:
    """Return a value as text for a fault, on one line and of bounded length."""
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return ``did you mean "…"?`` when one of ``known`` is near to ``name``, else ``otherwise``."""
    near = get_close_matches(name, tuple(known), n=1, cutoff=0.7)
    return f'did you mean "{near[0]}"?' if near else otherwise


class _Reader:
    """Goes through the document; each method returns the sound part of a value, or NODEFAULT for none."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def table(self, kind: type[msgspec.Struct], value: Mapping[str, Any], steps: Steps) -> dict[str, Any]:
        kinds = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for key in value.keys() - kinds:
            place = dotted(steps) or "The file"
            otherwise = f"{place} may hold {', '.join(kinds)}."
            self._refuse((*steps, key), f"is not known; {suggestion(key, kinds, otherwise)}")
        return self._kept(
            (key, self._value(kinds[key], part, (*steps, key))) for key, part in value.items() if key in kinds
        )

    def _value(self, kind: Any, value: Any, steps: Steps) -> Any:
        kind = _keys_of(kind) or kind
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.table(kind, value, steps) if isinstance(value, dict) else self._no_table(value, steps)
        if get_origin(kind) is dict:
            return self._named_tables(kind, value, steps) if isinstance(value, dict) else self._no_table(value, steps)
        if get_origin(kind) is tuple:
            return (
                self._tables(kind, value, steps) if isinstance(value, list) else self._no_table(value, steps, "[[{}]]")
            )
        return self._leaf(kind, value, steps, f"is {shown(value)}")

    def _named_tables(self, kind: Any, value: dict[str, Any], steps: Steps) -> dict[str, Any]:
        name_kind, table_kind = get_args(kind)
        checked = {}
        for name, part in value.items():
            named = self._leaf(name_kind, name, (*steps, name), "is not allowed as a name")
            checked[named] = self._value(table_kind, part, (*steps, name))
        return {name: part for name, part in checked.items() if msgspec.NODEFAULT not in (name, part)}

    def _tables(self, kind: Any, value: list[Any], steps: Steps) -> list[Any]:
        checked = [self._value(get_args(kind)[0], part, (*steps, index)) for index, part in enumerate(value)]
        # An empty table stands for what is no table, so that the others keep their places.
        return [{} if part is msgspec.NODEFAULT else part for part in checked]

    def _leaf(self, kind: Any, value: object, steps: Steps, text: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return self._refuse(steps, f"{text}; write {kind.__metadata__[0].description}.")

    def _no_table(self, value: object, steps: Steps, form: str = "") -> Any:
        form = form or ("[[{}]]" if isinstance(steps[-1], int) else "[{}]")
        header = ".".join(step for step in steps if isinstance(step, str))
        return self._refuse(steps, f"is {shown(value)}; write a table, {form.format(header)}.")

    def _refuse(self, steps: Steps, text: str) -> Any:
        self.faults.append(Fault(steps, text))
        return msgspec.NODEFAULT

    @staticmethod
    def _kept(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        return {key: part for key, part in pairs if part is not msgspec.NODEFAULT}


def _keys_of(kind: Any) -> type[msgspec.Struct] | None:
    """Return the class whose fields a table may hold any of, if the table is of that sort."""
    extras = (meta.extra or {} for meta in getattr(kind, "__metadata__", ()))
    return next((extra[KEYS_OF] for extra in extras if KEYS_OF in extra), None)


def _is_bare(key: str) -> bool:
    return bool(key) and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
