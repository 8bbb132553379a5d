"""Redis, as Valkey: each service has a user that reaches only keys beginning with the service's name."""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bandstand.exceptions import ServerFailed
from bandstand.workspace.runtime.accounts import Account
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import ReplyProbe
from bandstand.workspace.runtime.resources import Action, File, NotReady, Probe, Process, Resource, Stage
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place

__all__ = ["LoadUsers", "RedisProbe", "access_rules", "plan_redis", "redis_url"]


_CONFIGURATION: Final = """\
bind {host}
port {port}
dir {folder}
daemonize no
protected-mode yes
logfile ""
loglevel notice
save ""
appendonly yes
appendfsync everysec
maxmemory 128mb
maxmemory-policy allkeys-lru
aclfile {users}
"""


# What reaches beyond the keys of one service is not for it: KEYS, FLUSHALL, CONFIG and the like (@dangerous), scripts
# and functions that all share, and commands that tell of other services' keys and channels. PFMERGE of one key alone
# is let through whoever's it is (Valkey 8 and 9). SCAN, by which the cache clears its own keys, shows names of others.
_COMMANDS: Final = (
    "+@all -@admin -@dangerous -script +script|load +script|exists -function -randomkey -dbsize -pubsub "
    "-memory +memory|usage -wait -waitaof -pfmerge"
)


def redis_url(account: Account, port: int) -> str:
    """Return the URL by which the service of ``account`` connects."""
    return f"redis://{account.user}:{account.password}@{LOOPBACK}:{port}/0"


class RedisProbe(Probe, frozen=True, kw_only=True):
    """Ready when it answers PING, which it refuses while it still reads its data."""

    port: int
    administrator: Account

    async def check(self) -> None:
        answers = await _ask(self.port, self.administrator, b"PING")
        if answers != [b"+OK\r\n", b"+PONG\r\n"]:
            raise NotReady(_text(answers))


class LoadUsers(Action, frozen=True, kw_only=True):
    """Reload the file with the users of a running server. Connections of removed users end."""

    port: int
    administrator: Account

    async def perform(self) -> tuple[str, ...]:
        answers = await _ask(self.port, self.administrator, b"ACL LOAD")
        if answers != [b"+OK\r\n", b"+OK\r\n"]:
            raise ServerFailed(f"Redis does not take its changed users: {_text(answers)}")
        return ()


async def _ask(port: int, administrator: Account, command: bytes) -> list[bytes]:
    """Return the answers to AUTH and to ``command``."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(f"AUTH {administrator.user} {administrator.password}\r\n".encode() + command + b"\r\n")
        return [await reader.readline(), await reader.readline()]
    finally:
        writer.transport.abort()


def _text(answers: Iterable[bytes]) -> str:
    return b" ".join(answers).decode(errors="replace").strip()


def plan_redis(
    place: Place, *, binary: Path, port: int, administrators: Sequence[Account], accounts: Iterable[Account]
) -> tuple[list[Resource], list[File]]:
    """Plan the server; of ``administrators`` the first is in use."""
    configuration, acl = place.folder / "valkey.conf", place.folder / "users.acl"
    files = [
        File(
            path=configuration,
            content=_CONFIGURATION.format(host=LOOPBACK, port=port, folder=_quoted(place.folder), users=_quoted(acl)),
        ),
        File(path=acl, content="".join(access_rules(administrators, accounts))),
    ]
    server = Process(
        name="redis",
        label="Redis (Valkey)",
        stage=Stage.SERVER,
        command=place.command(binary, _named(configuration)),
        log=place.log,
        probe=RedisProbe(port=port, administrator=administrators[0], again=PROBE_INTERVAL, timeout=PROBE_TIMEOUT),
        liveness=ReplyProbe(port=port, question=b"PING\r\n", timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=port,
        data=place.folder,
        reread=LoadUsers(port=port, administrator=administrators[0]),
    )
    return [server], files


def access_rules(administrators: Iterable[Account], accounts: Iterable[Account]) -> Iterable[str]:
    """Yield the access control list, one line for each user: only hashes, and nobody gets in without a name."""
    yield "user default off\n"
    for administrator in administrators:
        yield f"user {administrator.user} on #{_digest(administrator.password)} ~* &* +@all\n"
    for account in accounts:
        yield (
            f"user {account.user} on #{_digest(account.password)} resetkeys ~{account.service}:* "
            f"resetchannels &{account.service}:* {_COMMANDS}\n"
        )


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _named(path: Path) -> str:
    """Return the argument that names the configuration.

    Valkey takes a path with ``*``, ``?`` or ``[`` in it for a pattern. Where nothing matches, it starts without any
    configuration: on its own port, for the whole network and without a password.
    """
    text = str(path)
    return re.sub(r"[\\*?\[]", r"\\\g<0>", text) if any(sign in text for sign in "*?[") else text


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
