"""YAML, the same bytes for the same values."""

import re
from typing import Any, Final

import yaml

__all__ = ["yaml_text"]


class _Dumper(yaml.SafeDumper):
    """Without anchors: what is said twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


# Numbers for the readers of YAML 1.2, as those of Kubernetes and Compose, that are text for YAML 1.1: "12e4567" may be
# the hash of a commit.
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """Text of several lines stays readable, and text that looks like a number stays text."""
    style = "|" if "\n" in value else "'" if _NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(*documents: object) -> str:
    """Return ``documents`` as one YAML text; keys keep their order."""
    text: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=120,
        explicit_start=len(documents) > 1,
    )
    return text
