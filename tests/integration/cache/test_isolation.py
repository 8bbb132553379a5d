"""Access rules of the shared Valkey: a service may do everything with its own keys and nothing with those of others."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.integration.cache.server import OTHER, PASSWORD, SERVICE, Valkey

pytestmark = pytest.mark.integration

# Commands without a key that a service may give: about its own connection and transaction, about time, and SCAN,
# which shows names. Whatever a new release of the server adds is not among them, and fails here.
HARMLESS = {
    "asking", "auth", "client", "command", "discard", "echo", "exec", "hello", "multi", "ping", "psubscribe",
    "publish", "punsubscribe", "quit", "readonly", "readwrite", "reset", "scan", "script", "select", "spublish",
    "ssubscribe", "subscribe", "sunsubscribe", "time", "unsubscribe", "unwatch", "lolwut",
}  # fmt: skip
# Their keys are found by other means; tested one by one below.
MOVABLE = {
    "eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro", "xread", "xreadgroup", "zdiff", "zinter", "zunion",
    "sintercard", "zintercard", "lmpop", "zmpop", "blmpop", "bzmpop", "object", "memory", "xgroup", "xinfo", "migrate",
}  # fmt: skip
NOT_READING = {"clusterscan", "sunsubscribe"}  # an error where there is no cluster; what one never subscribed to
SUBCOMMANDS = {
    "client": {
        "caching", "capa", "getname", "getredir", "help", "id", "import-source", "info", "no-evict", "no-touch",
        "reply", "setinfo", "setname", "tracking", "trackinginfo",
    },
    "script": {"load", "exists"},
}  # fmt: skip


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Any]:
    with valkey.admin() as client:
        yield client


def is_allowed(admin: Any, command: str, *arguments: object) -> bool:
    """Return whether the server allows the command to the service; words that form no command count as refused."""
    try:
        return bool(admin.execute_command("ACL DRYRUN", SERVICE, *command.split(), *arguments) == b"OK")
    except redis.ResponseError:
        return False


def commands(admin: Any) -> dict[str, tuple[int, int]]:
    """Return all commands of the server by name: the position of the first key, and the least number of words."""
    found = admin.execute_command("COMMAND INFO")  # by that name the client leaves the answer as it is
    return {entry[0].decode(): (int(entry[3]), abs(int(entry[1]))) for entry in found}


def test_no_command_reaches_the_keys_of_another_service(admin: Any) -> None:
    """Each command that takes a key is refused for another's, and many are allowed for its own."""
    with_keys = {name: spec for name, spec in commands(admin).items() if spec[0] > 0 and name not in NOT_READING}
    assert len(with_keys) > 100
    own = set()
    for name, (place, least) in with_keys.items():
        for extra in range(4):  # commands of any number of words count from their least on
            words = ["1"] * (max(least - 1, place) + extra)
            words[place - 1] = f"{OTHER}:secret"
            assert not is_allowed(admin, name, *words), (name, words)
            words[place - 1] = f"{SERVICE}:mine"
            if is_allowed(admin, name, *words):
                own.add(name)
    assert {"get", "del", "incr", "expire", "lpush", "sadd"} <= own


def test_commands_without_a_key_are_harmless(admin: Any) -> None:
    """Every allowed command without a key is on the reviewed list."""
    without = {name: least for name, (place, least) in commands(admin).items() if place == 0}
    allowed = {
        name
        for name, least in without.items()
        if name not in MOVABLE and any(is_allowed(admin, name, *["1"] * (least - 1 + extra)) for extra in range(3))
    }
    assert allowed - HARMLESS == set()


@pytest.mark.parametrize(("container", "harmless"), SUBCOMMANDS.items())
def test_subcommands_are_harmless(admin: Any, container: str, harmless: set[str]) -> None:
    """CLIENT acts on the own connection only, and SCRIPT removes nothing that others loaded."""
    [found] = admin.execute_command("COMMAND INFO", container)
    names = {entry[0].decode().partition("|")[2] for entry in found[9]}
    assert len(names) > 2
    allowed = {name for name in names for count in range(3) if is_allowed(admin, f"{container} {name}", *["1"] * count)}
    assert allowed - harmless == set()


@pytest.mark.parametrize(
    "words",
    [
        ("EVAL", "return redis.call('GET', KEYS[1])", 1, f"{OTHER}:secret"),
        ("EVAL", f"return redis.call('GET', '{OTHER}:secret')", 0),
        ("EVAL", "return redis.call('SCRIPT', 'FLUSH')", 0),
        ("EVAL", "return redis.call('RANDOMKEY')", 0),
        ("XREAD", "STREAMS", f"{OTHER}:secret", 0),
        ("ZUNION", 1, f"{OTHER}:secret"),
        ("OBJECT", "ENCODING", f"{OTHER}:secret"),
        ("MEMORY", "USAGE", f"{OTHER}:secret"),
        ("COPY", f"{OTHER}:secret", f"{SERVICE}:copy"),
        ("RENAME", f"{OTHER}:secret", f"{SERVICE}:copy"),
        ("PUBLISH", f"{OTHER}:news", "x"),
        ("SUBSCRIBE", f"{OTHER}:news"),
        ("PSUBSCRIBE", "*"),
        ("SCRIPT", "FLUSH"),
        ("SCRIPT", "KILL"),
        ("FUNCTION", "FLUSH"),
        ("FUNCTION", "LIST"),
        ("PUBSUB", "CHANNELS"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("CLIENT", "LIST"),
        ("CLIENT", "PAUSE", 1000),
        ("RANDOMKEY",),
        ("DBSIZE",),
        ("PFMERGE", f"{OTHER}:secret"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("INFO",),
        ("MONITOR",),
        ("SHUTDOWN",),
        ("SWAPDB", 0, 1),
        ("REPLICAOF", "NO", "ONE"),
        ("DEBUG", "SLEEP", 0),
        ("MODULE", "LIST"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_what_is_refused(valkey: Valkey, admin: Any, words: tuple[Any, ...]) -> None:
    """The real server refuses each command to the service's own credentials."""
    admin.set(f"{OTHER}:secret", "value")
    with redis.Redis.from_url(valkey.url()) as client, pytest.raises(redis.RedisError) as refused:
        client.execute_command(*words)
    text = str(refused.value).lower()
    assert re.search("permission|noperm|acl|not allowed", text), text


def test_a_wrong_name_gets_in_nowhere(valkey: Valkey) -> None:
    """The server accepts neither the default user nor wrong names and passwords."""
    for user, password in (("default", ""), ("default", PASSWORD), (OTHER, "wrong"), ("nobody", PASSWORD)):
        url = valkey.url(user).replace(PASSWORD, password)
        with redis.Redis.from_url(url) as client, pytest.raises(redis.RedisError):
            client.ping()
