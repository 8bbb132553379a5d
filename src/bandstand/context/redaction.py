"""What must not stand in a log: secrets, and characters that a terminal or a viewer would obey."""

import re
from functools import lru_cache
from typing import Final

__all__ = ["HIDDEN", "escaped", "is_secret", "masked", "safe_json"]

HIDDEN: Final = "***"

_MAX_NAME: Final = 128

_SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|token|authorization|cookie|api_?key|private_?key|credential|\bdsn\b",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"(://[^\s/:@\"]*:)[^\s/@\"]+@")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_BEARER: Final = re.compile(r"\b([Bb]earer +)[\w.~+/-]+=*")
_ASSIGNED: Final = re.compile(r"\b(\w*(?:password|passwd|secret|token|api_?key)=)[^\s&\"'\\]+", re.IGNORECASE)

# JSON escapes what is below U+0020. These would still reach a terminal or a log viewer: DEL and C1 controls, line and
# paragraph separators, and the marks that hide text or turn its direction (CVE-2021-42574, "Trojan Source").
_MARKS: Final = "\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_UNSAFE_IN_JSON: Final = re.compile(f"[{_MARKS}]")
_UNSAFE: Final = re.compile(f"[\x00-\x1f{_MARKS}\ud800-\udfff]")


def is_secret(name: object) -> bool:
    """Say whether a field of that name is likely to hold a secret. A name that is absurdly long counts as one."""
    return isinstance(name, str) and (len(name) > _MAX_NAME or _sounds_secret(name))


@lru_cache(maxsize=1024)
def _sounds_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def masked(line: str) -> str:
    """Return ``line`` without the passwords in URLs, tokens and ``password=…`` that it holds."""
    if "://" in line:
        line = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", line)
    if "eyJ" in line:
        line = _JWT.sub(HIDDEN, line)
    if "earer " in line:
        line = _BEARER.sub(rf"\1{HIDDEN}", line)
    if "=" in line:
        line = _ASSIGNED.sub(rf"\1{HIDDEN}", line)
    return line


def safe_json(line: str) -> str:
    """Return a JSON document with the characters escaped that JSON permits and a viewer would obey."""
    if line.isascii() and "\x7f" not in line:
        return line
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def escaped(text: str) -> str:
    """Return ``text`` on one line, with all that a terminal would obey written as Python writes it."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
