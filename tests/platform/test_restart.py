"""Every process of every service is replaced while people use the shop.

How many requests had to be repeated is a figure of the machine: benchmarks/bench_restart.py judges it.
"""

import json
import os
import signal

import pytest

from tests.platform.conftest import Shop, eventually, run
from tests.platform.load import Load, catalogue, everything, orders_of

pytestmark = pytest.mark.platform

REQUESTS = int(os.environ.get("BANDSTAND_FAULT_REQUESTS", "500"))


def processes(shop: Shop) -> dict[str, int]:
    """The id of each process of a service that stays."""
    known = json.loads(run(shop.folder, "ps", "--json").stdout)["processes"]
    return {one["name"]: one["pid"] for one in known if one["name"].endswith(("-web", "-worker"))}


def test_no_request_fails_while_everything_is_replaced(shop: Shop) -> None:
    """All services are restarted under load through the gateway: each process is another one, no client who asks again
    when told to sees a failure, and no order is doubled or lost.
    """
    product = shop.client.get("/api/products/?in_stock=true").body["results"][0]["id"]
    before = processes(shop)
    with Load(shop, everything(product)) as load:
        rounds = 0
        while rounds == 0 or load.total < REQUESTS:
            restarted = run(shop.folder, "restart", "--json")
            assert restarted.returncode == 0, restarted.stdout + restarted.stderr
            rounds += 1
    print(f"{load.total} requests, {rounds} rounds, repeated: {dict(load.repeated)}, failed: {load.failed}")
    assert load.failed == {}
    assert sum(map(len, load.orders.values())) > 0
    for person in load.people:
        assert sorted(orders_of(person)) == sorted(load.orders[person.id]), "doubled or lost orders"
    after = processes(shop)
    assert set(after) == set(before)
    assert len(after) == 8
    assert not set(before.values()) & set(after.values())


def test_tooth_a_process_that_just_ends_is_missed(shop: Shop) -> None:
    """The old way, end it and let it be started again: for a moment nobody answers."""
    pid = processes(shop)["product-service-web"]
    with Load(shop, catalogue) as load:
        eventually(lambda: load.total > 50, what="the load to be under way")
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: any(why.startswith(("502", "503", "504")) for why in list(load.repeated)), what="a refusal")
    eventually(lambda: processes(shop)["product-service-web"] not in {pid, None})
    eventually(lambda: shop.client.get("/api/products/").status == 200)


def test_a_service_that_is_not_known(shop: Shop) -> None:
    """A typing mistake changes nothing, and is answered with the nearest name."""
    result = run(shop.folder, "restart", "order-servce")
    assert result.returncode == 1
    assert "Did you mean order-service?" in result.stderr
