"""All passwords and keys of the shop in containers are replaced, as `bandstand secrets rotate` says it is done."""

import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import BANDSTAND, Deployment, well_stocked
from tests.docker.load import load
from tests.platform import conftest
from tests.platform.conftest import Person, eventually
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


def follow(deployment: Deployment, instruction: dict[str, str], tmp_path: Path, *, at_once: bool) -> None:
    """Do what an instruction says; ``at_once`` restarts all web processes together, which takes less time."""
    command = instruction["command"]
    if command.startswith("bandstand"):
        return
    if not command:
        time.sleep(0 if at_once else 2 * RENEWED_AFTER)
        return
    if at_once and command.startswith("for container in"):
        deployment.compose("restart", *deployment.workspace.service_names)
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


def rotate(deployment: Deployment, tmp_path: Path, *, at_once: bool) -> None:
    for step in STEPS:
        for instruction in write_step(deployment, step):
            print(step, instruction["text"])
            follow(deployment, instruction, tmp_path, at_once=at_once)
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


def buy(deployment: Deployment, person: Person) -> None:
    """Buy something, which the stock confirms by events."""
    order = {"items": [{"product_id": well_stocked(deployment)["id"], "quantity": 1}]}
    placed = person.client.post("/api/orders/", order, Idempotency_Key=uuid.uuid4().hex)
    assert placed.status == 201, placed
    path = f"/api/orders/{placed.body['id']}/"
    eventually(lambda: person.client.get(path).body["status"] == "confirmed", what="the order is confirmed", pause=0.5)


def test_all_secrets_are_replaced(deployment: Deployment, ada: Person, tmp_path: Path) -> None:
    """After the three steps nothing old is accepted, and a purchase goes through."""
    old, old_tokens = logins(deployment), tokens(deployment)
    rotate(deployment, tmp_path, at_once=True)
    assert_replaced(deployment, old, old_tokens)
    assert ada.client.sign_in is not None
    ada.client.sign_in.forget()  # the old key signed its token, and nobody has waited until that was over
    buy(deployment, ada)


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
        rotate(deployment, tmp_path, at_once=False)
    told = f"{count.answered} answered, {len(count.bought)} bought, {len(count.failed)} failed"
    print(f"{told}, {len(count.repeated)} repeated: {count.repeated[:5]}")
    assert count.failed == [], deployment.complaints()
    assert count.bought
    assert sorted({order for person in people for order in orders_of(person)} - before) == sorted(count.bought)
    assert_replaced(deployment, old, old_tokens)
