"""The statistics of a running gateway from its admin port, and which of its files it runs on."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import ServerFailed
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import request

__all__ = ["count_refusals", "statistic", "until_gateway_read"]

_WATCHED: Final = "?ds*.json"  # lds, rds, cds and the endpoints of each service
_ANSWER_SECONDS: Final = 5.0
_READ_POLL: Final = 0.02


async def statistic(admin_port: int, name: str) -> int | None:
    """Return a counter or gauge of Envoy's own, None where it has no such."""
    _, body = await request("GET", LOOPBACK, admin_port, f"/stats?filter=^{name}$")
    number = body.rpartition(b": ")[2].strip()
    return int(number) if number.isdigit() else None


async def until_gateway_read(
    admin_port: int, files: Iterable[Path], *, patience: float = 10.0, refusals: int | None = None
) -> None:
    """Return once Envoy runs on what the watched ``files`` hold, also where they change meanwhile.

    ``refusals`` is how often it had refused one before they were written, where a refusal shall not be waited out.

    Raises:
        ServerFailed: it did not within ``patience`` seconds, or refused one.
    """
    files = [file for file in files if file.match(_WATCHED)]
    deadline = asyncio.get_running_loop().time() + patience
    while unread := await _unread(admin_port, files):
        if refusals is not None and await count_refusals(admin_port) > refusals:
            raise ServerFailed(
                f"The gateway refuses {', '.join(unread)}.", hint="Look at its log, gateway.log, for the reason."
            )
        if asyncio.get_running_loop().time() > deadline:
            raise ServerFailed(
                f"The gateway has not taken {', '.join(unread)} within {patience:.0f} s.",
                hint="Look at its log, gateway.log, for a reason.",
            )
        await asyncio.sleep(_READ_POLL)


async def count_refusals(admin_port: int) -> int:
    """Return how many changed files Envoy has refused since it started; none when it gives no answer."""
    return sum(map(int, await _values(admin_port, "/stats?filter=update_(rejected|failure)$")))


async def _unread(admin_port: int, files: Sequence[Path]) -> list[str]:
    known = await _versions_read(admin_port) if files else set()
    return [file.name for file in files if _version(file) not in known]


class _Watched(msgspec.Struct):
    version_info: str


def _version(file: Path) -> str:
    """The version is made from the content, so no two files have the same."""
    return msgspec.json.decode(file.read_bytes(), type=_Watched).version_info


async def _versions_read(admin_port: int) -> set[str]:
    """Return the versions that Envoy runs on; none when it gives no answer."""
    return {value.strip('"') for value in await _values(admin_port, "/stats?filter=version_text$&type=TextReadouts")}


async def _values(admin_port: int, page: str) -> list[str]:
    """Return the values of a page of statistics; none when Envoy gives no answer."""
    with suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, body = await request("GET", LOOPBACK, admin_port, page)
        return [line.rpartition(": ")[2] for line in body.decode(errors="replace").splitlines() if ": " in line]
    return []
