"""DISCOVERY_URL as the address of a server with options: ``scheme://secret@host:port/?option=value``."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from bandstand.exceptions import ConfigurationError

__all__ = ["RegistryAddress", "masked"]

_VARIABLE: Final = "DISCOVERY_URL"
_AUTHORITY: Final = re.compile(r"[^/?#]*")  # RFC 3986, section 3.2


class RegistryAddress:
    """Reads a URL part by part and remembers every fault, so that all are told at once by ``check()``.

    ``place`` is what stands between the slashes, without the secret: one or more hosts, with ports.
    """

    def __init__(self, url: str, *, options: Collection[str]) -> None:
        self.faults: list[str] = []
        self._parts = self._split(url)
        self.secret = unquote(self._parts.username or "")
        self._options: dict[str, list[str]] = {}
        for name, value in parse_qsl(self._parts.query, keep_blank_values=True):
            if name not in options:
                self.fault(f"{name!r} is no option; options are {', '.join(sorted(options))}")
            self._options.setdefault(name, []).append(value.strip())
        if self._parts.path.strip("/") or self._parts.fragment:
            self.fault(f"{self._parts.path!r} can't be used; options stand behind a question mark: /?name=value")
        if self._parts.password is not None:
            self.fault("there is a password in it, where only a token belongs: consul://token@host:port")

    @property
    def host(self) -> str:
        """The host, without the brackets of an IPv6 address."""
        return self._parts.hostname or ""

    def port(self, default: int) -> int:
        try:
            return self._parts.port or default
        except ValueError:
            self.fault(f"{self.place!r} has no port between 1 and 65535")
            return default

    def has(self, name: str) -> bool:
        return name in self._options

    def many(self, name: str) -> tuple[str, ...]:
        return tuple(self._options.get(name, ()))

    def text(self, name: str, default: str = "") -> str:
        values = self._options.get(name, [default])
        if len(values) > 1:
            self.fault(f"{name} stands in it {len(values)} times; write it once")
        return values[0]

    def choice(self, name: str, *allowed: str) -> str:
        """Return one of ``allowed``; the first is the default."""
        value = self.text(name, allowed[0])
        if value in allowed:
            return value
        self.fault(f"{name} is {value!r}; write {' or '.join(allowed)}")
        return allowed[0]

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        raw = self.text(name, str(default))
        if raw.isascii() and raw.isdigit() and least <= int(raw) <= most:
            return int(raw)
        self.fault(f"{name} is {raw!r}; write a whole number from {least} to {most}")
        return default

    def fault(self, sentence: str) -> None:
        """Remember what is wrong; ``sentence`` goes on from the variable's name."""
        self.faults.append(f"{_VARIABLE}: {sentence}.")

    def check(self) -> None:
        """Raise what was found.

        Raises:
            ConfigurationError: with one sentence for each fault.
        """
        if self.faults:
            raise ConfigurationError(self.faults)

    def _split(self, url: str) -> SplitResult:
        scheme, _, rest = url.partition("://")
        authority = _AUTHORITY.match(rest).group()  # type: ignore[union-attr] # it matches whatever comes
        secret, at, place = authority.rpartition("@")
        self.place: str = place
        # Python knows nothing of several hosts, and some of its releases refuse brackets that do not come first.
        if "," in place:
            url = f"{scheme}://{secret}{at}{rest[len(authority) :]}"
        try:
            return urlsplit(url)
        except ValueError:  # its text may repeat the secret
            self.fault("it is no URL")
            return urlsplit(url.partition(":")[0] + "://")


def masked(url: str) -> str:
    """Return ``url`` without what stands before its ``@``: a token."""
    head, slashes, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    return f"{head}{slashes}…@{after}" if before and at else url
