"""When the gateway counts as told, with a server in the place of Envoy's own pages."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from bandstand.exceptions import ServerFailed
from bandstand.workspace.runtime.resources import NeverReady, NotReady
from bandstand.workspace.runtime.servers.envoy import GatewayProbe
from bandstand.workspace.runtime.servers.envoy_statistics import count_refusals, until_gateway_read

Ask = Callable[[int], Awaitable[None]]


def against(answers: Sequence[Sequence[str]], ask: Ask) -> int:
    """Run ``ask`` with the port of a gateway that says in turn that it runs on these versions; return how often."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        versions = answers[min(asked, len(answers) - 1)]
        asked += 1
        lines = "".join(f'cluster.service-{n}.version_text: "{version}"\n' for n, version in enumerate(versions))
        writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{lines}".encode())
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            await ask(server.sockets[0].getsockname()[1])

    asyncio.run(run())
    return asked


def write(folder: Path, **versions: str) -> list[Path]:
    """Write watched files with these versions."""
    files = {folder / f"{name}.json": version for name, version in versions.items()}
    for path, version in files.items():
        path.write_text(json.dumps({"version_info": version, "resources": [{"name": "x"}]}))
    return list(files)


@pytest.mark.parametrize(
    ("listeners", "failures", "reason", "kind"),
    [(0, 1, "could not listen", NeverReady), (0, 0, "does not listen", NotReady), (1, 0, "", None)],
)
def test_a_gateway_without_its_port_is_not_ready(
    listeners: int, failures: int, reason: str, kind: type[NotReady] | None
) -> None:
    """That somebody listens there is not enough: it may be a stranger who took the port, and then waiting is no use."""
    numbers = {b"total_listeners_active": listeners, b"listener_create_failure": failures}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        name = path.rpartition(b".")[2].rstrip(b"$")
        body = b"LIVE\n" if path == b"/ready" else b"listener_manager.%s: %d\n" % (name, numbers[name])
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
        writer.close()

    async def run(port: int) -> NotReady | None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            admin_port = server.sockets[0].getsockname()[1]
            try:
                await GatewayProbe(host="127.0.0.1", port=port, admin_port=admin_port).check()
            except NotReady as error:
                return error
            return None

    with socket.create_server(("127.0.0.1", 0)) as somebody:
        found = asyncio.run(run(somebody.getsockname()[1]))
    assert reason in str(found or "")
    assert type(found) is (kind or type(None))


def test_it_is_asked_until_it_has_all(tmp_path: Path) -> None:
    """A version of before is not enough, nor one of two."""
    files = write(tmp_path, cds="one", rds="two")
    turns = [["zero", "two"], ["one"], ["two", "one", "other"]]
    assert against(turns, lambda port: until_gateway_read(port, files)) == 3


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """What counts is what the file holds now: the version that it had first is never read any more."""
    files = write(tmp_path, rds="one")

    async def ask(port: int) -> None:
        waiting = asyncio.create_task(until_gateway_read(port, files))
        await asyncio.sleep(0)
        write(tmp_path, rds="two")
        await waiting

    assert against([["zero"], ["two"]], ask) == 2


def test_what_is_not_watched_is_not_waited_for(tmp_path: Path) -> None:
    """Envoy reads its bootstrap once, and has no version of it."""
    assert against([[]], lambda port: until_gateway_read(port, [tmp_path / "bootstrap.json"])) == 0


def test_a_refusal_is_not_waited_out(tmp_path: Path) -> None:
    """Envoy says at once that it will not have a file: who counted its refusals before knows that one is new."""
    files = write(tmp_path, rds="two")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = b"cluster.user-service.update_rejected: 1\nlistener_manager.lds.update_failure: 2\n"
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + lines)
        writer.close()

    async def run(before: int, patience: float) -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await count_refusals(port) == 3
            await until_gateway_read(port, files, patience=patience, refusals=before)

    with pytest.raises(ServerFailed, match=r"refuses rds\.json"):
        asyncio.run(run(2, 60))
    with pytest.raises(ServerFailed, match="not taken"):
        asyncio.run(run(3, 0))


def test_patience_ends(tmp_path: Path) -> None:
    """A gateway that does not take it, or gives no answer, is named with the file, and where to look."""
    files = write(tmp_path, rds="two")
    with pytest.raises(ServerFailed, match=r"not taken rds\.json within 0 s") as raised:
        against([["one"]], lambda port: until_gateway_read(port, files, patience=0))
    assert "gateway.log" in str(raised.value)
    with pytest.raises(ServerFailed, match=r"not taken rds\.json"):
        asyncio.run(until_gateway_read(1, files, patience=0))
