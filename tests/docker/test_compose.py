"""The shop in containers, as `bandstand export` renders it: it sells, is closed, and restarts while it sells."""

import json
import uuid
from collections.abc import Sequence
from contextlib import nullcontext

import pytest

from tests.docker.conftest import Deployment, well_stocked
from tests.docker.load import Count, load
from tests.platform.conftest import Person, eventually
from tests.platform.load import orders_of

pytestmark = pytest.mark.docker


def test_a_purchase_goes_through(deployment: Deployment, ada: Person) -> None:
    """Registered, signed in, ordered, stock reserved by event, confirmed, notified: through gateway and RabbitMQ."""
    product = well_stocked(deployment)
    wanted = {"items": [{"product_id": product["id"], "quantity": 2}]}
    placed = ada.client.post("/api/orders/", wanted, Idempotency_Key=uuid.uuid4().hex)
    assert placed.status == 201, placed

    def confirmed() -> bool:
        return bool(ada.client.get(f"/api/orders/{placed.body['id']}/").body["status"] == "confirmed")

    eventually(confirmed, what="the order is confirmed")
    eventually(
        lambda: placed.body["id"] in str(ada.client.get("/api/notifications/").body),
        what="the buyer is notified",
    )


def test_services_believe_the_gateway_alone(deployment: Deployment) -> None:
    """The gateway has the address that services know it by, and no other container has come near it."""
    network = '{{(index .NetworkSettings.Networks "shop_services").IPAddress}}'
    names = ("gateway", *deployment.workspace.service_names)
    found = {
        name: [deployment.engine.docker("inspect", "--format", network, each).stdout.strip() for each in containers]
        for name in names
        if (containers := deployment.containers(name))
    }
    [gateway] = found["gateway"]
    for name in deployment.workspace.service_names:
        believed = deployment.compose("exec", "-T", name, "printenv", "BANDSTAND_TRUSTED_PROXIES").strip()
        assert believed == f"{gateway}/32"
        assert len(found[name]) == deployment.workspace.production.replicas
        assert gateway not in found[name]


def test_migrations_ran_once_and_ended_well(deployment: Deployment) -> None:
    """The jobs are over with status 0, and running one again finds nothing to do."""
    for service in deployment.workspace.service_names:
        [job] = deployment.compose("ps", "--all", "--quiet", f"{service}-migrate").split()
        state = json.loads(deployment.engine.docker("inspect", "--format", "{{json .State}}", job).stdout)
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), service
    again = deployment.compose("run", "--rm", "--no-deps", "-T", "user-service-migrate")
    assert "No migrations to apply" in again


def test_only_the_gateway_has_a_port(deployment: Deployment) -> None:
    """On this machine nothing of the shop listens but the gateway, on the loopback interface."""
    running = [json.loads(line) for line in deployment.compose("ps", "--format", "json").splitlines()]
    published = {
        (each["Service"], port["URL"], port["PublishedPort"])
        for each in running
        for port in each["Publishers"] or []
        if port["PublishedPort"]
    }
    assert published == {("gateway", "127.0.0.1", deployment.port)}


def test_nobody_is_root_and_no_secret_is_in_the_environment(deployment: Deployment) -> None:
    """What runs has a user of its own; passwords are in files, which `docker inspect` does not show."""
    files = [path for path in (deployment.folder / "secrets").glob("*/*") if path.is_file()]
    secrets = {path.read_text().strip() for path in files if path.name != "EMAIL_URL"} - {""}
    running = [json.loads(line) for line in deployment.compose("ps", "--format", "json").splitlines()]
    for each in running:
        inspected = deployment.engine.docker("inspect", each["ID"]).stdout
        assert not any(secret in inspected for secret in secrets), each["Service"]
        users = deployment.engine.docker("top", each["ID"], "-eo", "pid,uid").stdout.split("\n")[1:]
        assert not any(user.split()[1] == "0" for user in users if user), each["Service"]


def test_a_service_reaches_no_database_but_its_own(deployment: Deployment) -> None:
    """Its role may not connect to another's, and the gateway can't even find the database's host."""
    program = (
        "import psycopg; url = open('/run/secrets/DATABASE_URL').read();"
        " psycopg.connect(url.rsplit('/', 1)[0] + '/order_service')"
    )
    refused = deployment.engine.docker(
        *("compose", "--file", deployment.folder / "compose.yaml", "exec", "-T"),
        *("user-service", "python", "-c", program),
        check=False,
    )
    assert "permission denied for database" in refused.stderr
    names = deployment.compose("exec", "-T", "gateway", "bash", "-c", "getent hosts postgres || echo nobody")
    assert names.strip() == "nobody"


def roll(deployment: Deployment, people: Sequence[Person], *, seconds: int) -> Count:
    """Restart the web containers of all services, one after the other, while people use the shop.

    A container gets ``seconds`` to end by itself. Those of the user service have writes in flight when they are told.
    """
    product = str(well_stocked(deployment)["id"])
    deployment.wait_for_all()
    with load(people, product) as count:
        for service in deployment.workspace.service_names:
            for container in deployment.containers(service):
                held = deployment.writes_held(len(people)) if service == "user-service" else nullcontext()
                with held:
                    deployment.restart(container, seconds=seconds)
    told = f"{count.answered} answered, {len(count.bought)} bought, {len(count.failed)} failed"
    print(f"{told}, {len(count.repeated)} repeated: {count.repeated[:5]}")
    return count


@pytest.mark.long
def test_web_processes_restart_under_load_without_a_failed_request(
    deployment: Deployment, people: list[Person]
) -> None:
    """One at a time turns unready, drains, finishes what it has begun and ends, while the other one answers. No client
    who asks again when told to sees a failure, and no order is doubled or lost.
    """
    before = {order for person in people for order in orders_of(person)}
    count = roll(deployment, people, seconds=60)
    assert count.failed == [], deployment.complaints()
    assert count.bought
    assert sorted({order for person in people for order in orders_of(person)} - before) == sorted(count.bought)


@pytest.mark.long
def test_tooth_without_draining_requests_fail(deployment: Deployment, people: list[Person]) -> None:
    """The same with containers that are killed at once: what was in flight is lost, and the count tells of it."""
    count = roll(deployment, people, seconds=0)
    assert any("write_profile" in reason for reason in count.repeated)
