"""All passwords and keys of the shop are replaced while people use it."""

import json

import pytest

from tests.platform import conftest
from tests.platform.conftest import Client, Person, Shop, eventually, run
from tests.platform.load import Load, everything, orders_of
from tests.platform.test_restart import processes

pytestmark = pytest.mark.platform

LIFETIME = 30  # seconds that the old key for user tokens stays published: longer than a client of this test uses one


def kids(shop: Shop) -> set[str]:
    """The ids of the keys that services believe users and each other by."""
    folder = shop.folder / ".bandstand" / "keys"
    published = Client(base=shop.services["user-service"]).get("/.well-known/jwks.json").body["keys"]
    return {key["kid"] for key in [*json.loads((folder / "trusted.json").read_text())["keys"], *published]}


def pending(person: Person) -> list[str]:
    """The orders of which their buyer does not know yet whether they can be had."""
    return [order["id"] for order in person.client.get("/api/orders/?status=pending").body["results"]]


def test_no_request_fails_while_all_secrets_are_replaced(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process has new passwords and keys, no client sees a failure, no order is doubled or lost, events go
    through, and a token that the old key signed is refused.
    """
    monkeypatch.setattr(conftest, "RENEWED_AFTER", LIFETIME / 2)
    product = shop.client.get("/api/products/?in_stock=true").body["results"][0]["id"]
    witness = shop.person("witness")
    old_token, old_keys, before = witness.client.bearer(), kids(shop), processes(shop)
    with Load(shop, everything(product)) as load:
        rotated = run(shop.folder, "secrets", "rotate", "--json", "--token-lifetime", str(LIFETIME))
        assert rotated.returncode == 0, rotated.stdout + rotated.stderr
    print(f"{load.total} requests, repeated: {dict(load.repeated)}, failed: {load.failed}")
    assert json.loads(rotated.stdout)["servers"] == ["postgres", "redis", "nats"]
    assert load.failed == {}
    assert sum(map(len, load.orders.values())) > 0
    for person in load.people:
        assert sorted(orders_of(person)) == sorted(load.orders[person.id]), "doubled or lost orders"
        eventually(lambda person=person: not pending(person), what="the stock answers every order")
    assert not set(before.values()) & set(processes(shop).values())
    assert not old_keys & kids(shop)
    stolen = Client(base=shop.gateway, fixed_token=old_token)
    assert stolen.get(f"/api/users/{witness.id}/").status == 401
    assert witness.client.get(f"/api/users/{witness.id}/").status == 200
