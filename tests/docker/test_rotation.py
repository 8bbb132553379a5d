"""All passwords and keys of the shop in containers are replaced, as `bandstand secrets rotate` says it is done."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import BANDSTAND, Deployment, well_stocked
from tests.docker.load import load
from tests.platform import conftest
from tests.platform.conftest import Person
from tests.platform.load import orders_of
from tests.waiting import GUARD

pytestmark = pytest.mark.docker

STEPS = ("accept", "use", "retire")
RENEWED_AFTER = 30  # seconds; clients of these tests use a token for so long
_CONNECT = """
import sys, psycopg, redis
try:
    psycopg.connect(sys.argv[1]).close()
    redis.Redis.from_url(sys.argv[2], protocol=2).ping()
    print("accepted")
except (psycopg.OperationalError, redis.AuthenticationError) as error:
    print("refused:", error)
"""


def write_step(deployment: Deployment, step: str) -> list[dict[str, str]]:
    """Write the files of a step; return what is to be done then."""
    command = ("secrets", "rotate", "--step", step, "--out", deployment.folder / "secrets", "--json")
    done = subprocess.run(
        [BANDSTAND, "-C", deployment.folder.parent / "shop", *command],
        check=True,
        capture_output=True,
        timeout=GUARD,
    )
    instructions: list[dict[str, str]] = json.loads(done.stdout)["instructions"]
    return instructions


def follow(deployment: Deployment, instruction: dict[str, str], tmp_path: Path) -> None:
    """Do what an instruction says; the next step is for :func:`rotate`."""
    command = instruction["command"]
    if command.startswith("bandstand"):
        return
    if not command:
        time.sleep(2 * RENEWED_AFTER)  # until the user tokens of these tests are over
        return
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=tmp_path,
        env={**deployment.engine.environment, "GATEWAY_PORT": str(deployment.port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def rotate(deployment: Deployment, tmp_path: Path) -> None:
    for step in STEPS:
        for instruction in write_step(deployment, step):
            print(step, instruction["text"])
            follow(deployment, instruction, tmp_path)
        deployment.wait_for_all()


def logins(deployment: Deployment) -> tuple[str, str]:
    folder = deployment.folder / "secrets" / "order-service"
    return (folder / "DATABASE_URL").read_text(), (folder / "CACHE_URL").read_text()


def tried(deployment: Deployment, urls: tuple[str, str]) -> str:
    """Return what PostgreSQL and Valkey say to these logins."""
    return deployment.compose("exec", "-T", "order-service", "python", "-c", _CONNECT, *urls).strip()


def tokens(deployment: Deployment) -> list[Any]:
    """The tokens of the order service that Consul knows."""
    administrator = (deployment.folder / "secrets" / "consul" / "administrator").read_text()
    listed = deployment.ask("consul", ":8500/v1/acl/tokens", Authorization=f"Bearer {administrator}")
    return [token for token in json.loads(listed) if token["Description"] == "order-service"]


def assert_replaced(deployment: Deployment, old: tuple[str, str], old_tokens: list[Any]) -> None:
    assert tried(deployment, logins(deployment)) == "accepted"
    for each in zip(old, logins(deployment), strict=True):
        assert each[0] != each[1]
    assert tried(deployment, (old[0], logins(deployment)[1])).startswith("refused:")
    assert tried(deployment, (logins(deployment)[0], old[1])).startswith("refused:")
    [token] = tokens(deployment)
    assert token["AccessorID"] not in {each["AccessorID"] for each in old_tokens}


@pytest.mark.long
def test_no_request_fails_while_all_secrets_are_replaced(
    deployment: Deployment,
    people: list[Person],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the letter of the instructions, and under load: no client who asks again when told to sees a failure."""
    monkeypatch.setattr(conftest, "RENEWED_AFTER", RENEWED_AFTER)
    product = str(well_stocked(deployment)["id"])
    before = {order for person in people for order in orders_of(person)}
    old, old_tokens = logins(deployment), tokens(deployment)
    with load(people, product) as count:
        rotate(deployment, tmp_path)
    told = f"{count.answered} answered, {len(count.bought)} bought, {len(count.failed)} failed"
    print(f"{told}, {len(count.repeated)} repeated: {count.repeated[:5]}")
    assert count.failed == [], deployment.complaints()
    assert count.bought
    assert sorted({order for person in people for order in orders_of(person)} - before) == sorted(count.bought)
    assert_replaced(deployment, old, old_tokens)
