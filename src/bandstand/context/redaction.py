"""Secrets, and characters that a terminal or a viewer would obey, kept out of logs.

A secret is known by its name, wherever name and value stand beside each other, or by its own form: a password in a
URL, a bearer token, a JSON Web Token, a private key. A secret alone in a sentence can't be known.
"""

import dataclasses
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

__all__ = ["HIDDEN", "escaped", "is_secret", "masked", "may_hold_secret", "safe_json", "without_secrets"]

HIDDEN: Final = "***"

_MAX_NAME: Final = 128
_MAX_DEPTH: Final = 8  # of containers in each other

# Parts of names, and whole words of names in snake_case or camelCase.
_PARTS: Final = (
    r"passw|passphrase|passcode|secret|token|authori[sz]ation|cookie|credential|api[_-]?key|private[_-]?key|"
    r"signing[_-]?key|encryption[_-]?key|session[_-]?(?:id|key)|card[_-]?number|(?:database|broker|cache|redis)[_-]?ur[li]"
)
_WORDS: Final = frozenset(
    {"pwd", "pin", "otp", "totp", "cvv", "cvc", "iban", "ssn", "jwt", "bearer", "dsn", "sid", "signature"}
)
_WHOLE: Final = frozenset({"refresh", "auth", "session", "access"})
_SECRET_PART: Final = re.compile(_PARTS, re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_URL_PASSWORD: Final = re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']+@")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_SCHEME: Final = re.compile(r"\b((?:Bearer|Basic|Digest|Negotiate|Token)\s+)[\w.~+/-]{6,}=*", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# A name, perhaps quoted, a separator, and a value: quoted (to the end, if it was cut), of a header that has spaces, or
# one word. Quotes may be escaped, as in a JSON document within a text.
_NAMED: Final = re.compile(
    rf"""
    (?P<name>(?<![\w-])[\w.-]{{0,64}}?(?:{_PARTS}|(?<![^\W_])(?:{"|".join(sorted(_WORDS))})(?![^\W_]))[\w.-]{{0,64}})
    (?P<separator>\\*["']?\s*(?:=>|:=|[:=])\s*|\\*["']\s*,\s*)
    (?P<value>
        [bru]{{0,2}}(?P<quote>\\*["'])(?:(?!(?P=quote)).)*(?:(?P=quote)|\Z)
        | (?:Bearer|Basic|Digest|Negotiate|Token)\s+[^\s"',;)}}\]]+
        | (?<=ookie:\ )[^\r\n"'\\]+
        | [^\s&,;)}}\]"'\\]+
    )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# What one of them needs, in lower case: a line without any of these is left as it is.
_HINTS: Final = (
    "://", "eyj", "passw", "passphrase", "passcode", "secret", "token", "authori", "cookie", "credential", "key",
    "session", "card", "_ur", "pwd", "pin", "otp", "cvv", "cvc", "iban", "ssn", "jwt", "bearer", "basic ", "digest ",
    "negotiate ", "dsn", "sid", "signature", "refresh", "auth", "access",
)  # fmt: skip

# JSON escapes what is below U+0020. These would still reach a terminal or a log viewer: DEL and C1 controls, line and
# paragraph separators, and the marks that hide text or turn its direction (CVE-2021-42574, "Trojan Source").
_MARKS: Final = "\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_UNSAFE_IN_JSON: Final = re.compile(f"[{_MARKS}]")
_UNSAFE: Final = re.compile(f"[\x00-\x1f{_MARKS}\ud800-\udfff]")


def is_secret(name: object) -> bool:
    """Return whether a field of that name is likely to hold a secret. A name that is absurdly long counts as one."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and (len(name) > _MAX_NAME or _sounds_secret(name))


@lru_cache(maxsize=1024)
def _sounds_secret(name: str) -> bool:
    if name.lower() in _WHOLE or _SECRET_PART.search(name):
        return True
    return not _WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def may_hold_secret(line: str) -> bool:
    """Return False only if ``line`` holds nothing that :func:`masked` would hide; a cheap test."""
    lowered = line.lower()
    return any(hint in lowered for hint in _HINTS)


def masked(text: str) -> str:
    """Return ``text`` with each recognisable secret replaced."""
    if not may_hold_secret(text):
        return text
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)
    text = _NAMED.sub(_hide_value, text)
    text = _JWT.sub(HIDDEN, text)
    return _SCHEME.sub(rf"\1{HIDDEN}", text)


def _hide_value(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    return f"{match['name']}{match['separator']}{quote}{HIDDEN}{quote}"


def without_secrets(value: Any, mask: Callable[[str], str] = masked, depth: int = 0) -> Any:
    """Return ``value`` with each text masked, and without the values of fields that have a secret's name.

    Such a field is an item of a dictionary, an attribute of a dataclass or struct, or a pair of a list, as headers
    are: ``[("authorization", "…")]``.
    """
    if isinstance(value, str):
        return mask(value)
    value = _fields(value)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return value
    if depth == _MAX_DEPTH:
        return "{…}"
    if isinstance(value, dict):
        return {
            key: HIDDEN if is_secret(key) else without_secrets(item, mask, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple) and len(value) == 2 and is_secret(value[0]):
        return [value[0], HIDDEN]
    return [without_secrets(item, mask, depth + 1) for item in value]


def _fields(value: Any) -> Any:
    """Return what a JSON encoder would make an object of as a dictionary, and anything else as it is."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def safe_json(line: str) -> str:
    """Return a JSON document with the characters escaped that JSON permits and a viewer would obey."""
    if line.isascii() and "\x7f" not in line:
        return line
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def escaped(text: str) -> str:
    """Return ``text`` on one line, with all that a terminal would obey written as Python writes it."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
