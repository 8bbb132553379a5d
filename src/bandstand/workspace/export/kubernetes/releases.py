"""A release's tag in the forms that Kubernetes takes, which are narrower than those of an image.

A tag may have 128 characters, capitals, underscores, and a dot or hyphen at its end. A label has at most 63 and ends
with a letter or a digit; the name of a job has small letters, digits and hyphens alone. What does not fit is shortened
or spelt otherwise, and a hash of the whole tag keeps two releases apart.
"""

import hashlib
import re
from typing import Final

__all__ = ["job_name", "version_label"]

_MOST: Final = 63
_HASH: Final = 8
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
# Tags that stay distinct when dots become hyphens: numbers with dots, and plain names that do not look like those.
_NUMBERS: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_PLAIN: Final = re.compile(r"(?![0-9]+(-[0-9]+)+\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def version_label(tag: str) -> str:
    """Return the value of ``app.kubernetes.io/version``: the tag itself, where a label may be that."""
    if len(tag) <= _MOST and _LABEL.fullmatch(tag):
        return tag
    return _shortened(tag.strip("_.-"), tag)


def job_name(prefix: str, tag: str) -> str:
    """Return the name of a job of ``prefix`` for the release ``tag``: of no two releases the same."""
    release = "".join(letter if letter.isalnum() else "-" for letter in tag.lower()).strip("-")
    name = f"{prefix}-{release}"
    if len(name) <= _MOST and (_NUMBERS.fullmatch(tag) or _PLAIN.fullmatch(tag)):
        return name
    return _shortened(name, f"{prefix} {tag}")


def _shortened(text: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH]
    return f"{text[: _MOST - _HASH - 1].rstrip('_.-')}-{digest}".lstrip("-")
