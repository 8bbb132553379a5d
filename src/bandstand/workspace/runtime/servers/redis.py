"""Redis, as Valkey: each service has a user that reaches only keys beginning with the service's name."""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import ReplyProbe
from bandstand.workspace.runtime.resources import File, NotReady, Probe, Process, Resource, Stage
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place

__all__ = ["RedisProbe", "RedisUser", "access_rules", "plan_redis"]

ADMINISTRATOR: Final = "bandstand"

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


class RedisUser(msgspec.Struct, frozen=True, kw_only=True):
    """A service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"RedisUser({self.name!r})"

    def url(self, port: int) -> str:
        return f"redis://{self.name}:{self.password}@{LOOPBACK}:{port}/0"


class RedisProbe(Probe, frozen=True, kw_only=True):
    """Ready when it answers PING, which it refuses while it still reads its data."""

    port: int
    password: str

    async def check(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(f"AUTH {ADMINISTRATOR} {self.password}\r\nPING\r\n".encode())
            answers = [await reader.readline(), await reader.readline()]
        finally:
            writer.transport.abort()
        if answers != [b"+OK\r\n", b"+PONG\r\n"]:
            raise NotReady(b" ".join(answers).decode(errors="replace").strip())


def plan_redis(
    place: Place, *, binary: Path, port: int, password: str, users: Iterable[RedisUser]
) -> tuple[list[Resource], list[File]]:
    """Plan the server; ``password`` is its administrator's."""
    configuration, acl = place.folder / "valkey.conf", place.folder / "users.acl"
    files = [
        File(
            path=configuration,
            content=_CONFIGURATION.format(host=LOOPBACK, port=port, folder=_quoted(place.folder), users=_quoted(acl)),
        ),
        File(path=acl, content="".join(access_rules(password, users))),
    ]
    server = Process(
        name="redis",
        label="Redis (Valkey)",
        stage=Stage.SERVER,
        command=place.command(binary, _named(configuration)),
        log=place.log,
        probe=RedisProbe(port=port, password=password, again=PROBE_INTERVAL, timeout=PROBE_TIMEOUT),
        liveness=ReplyProbe(port=port, question=b"PING\r\n", timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=port,
        data=place.folder,
    )
    return [server], files


def access_rules(password: str, users: Iterable[RedisUser]) -> Iterable[str]:
    """Yield the access control list, one line for each user: only hashes, and nobody gets in without a name."""
    yield "user default off\n"
    yield f"user {ADMINISTRATOR} on #{_digest(password)} ~* &* +@all\n"
    for user in users:
        yield (
            f"user {user.name} on #{_digest(user.password)} resetkeys ~{user.name}:* "
            f"resetchannels &{user.name}:* {_COMMANDS}\n"
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
