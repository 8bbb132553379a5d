"""The way of an order's events through all services, as one command tells it."""

import json

import pytest

from tests.platform.conftest import Shop, eventually, run

pytestmark = pytest.mark.platform


def test_one_command_follows_an_order_through_all_services(shop: Shop) -> None:
    """From the correlation id that the gateway answers with, to every event, every handler and what it caused."""
    buyer = shop.person("traced")
    product = shop.client.get("/api/products/?search=lamp").body["results"][0]["id"]
    order = {"items": [{"product_id": product, "quantity": 1}]}
    placed = buyer.client.post("/api/orders/", order, Idempotency_Key="traced-1", X_Correlation_ID="traced-order-0001")
    assert placed.status == 201, placed
    asked = placed.headers["x-correlation-id"]
    eventually(
        lambda: buyer.client.get(f"/api/orders/{placed.body['id']}/").body["status"] == "confirmed",
        what="the order is confirmed",
    )
    eventually(lambda: len(buyer.client.get("/api/notifications/").body["results"]) >= 2, what="the mails")
    told = json.loads(run(shop.folder, "events", "trace", asked, "--json").stdout)
    assert told["failed"] == {}
    events = {event["type"]: event for event in told["story"]["events"]}
    assert list(events) == ["order.placed", "stock.reserved", "order.confirmed", "notification.queued"]
    causes = [event["causation_id"] for event in events.values()]
    assert causes == ["", *[event["id"] for event in events.values()][:-1]]
    assert {event["source"] for event in events.values()} == {
        "order-service",
        "product-service",
        "notification-service",
    }
    handled = {(each["service"], each["subscription"], each["state"]) for each in told["story"]["deliveries"]}
    assert ("product-service", "products.reserve_stock", "handled") in handled
    assert ("notification-service", "notifications.tell_confirmed", "handled") in handled
    shown = run(shop.folder, "events", "trace", asked).stdout
    assert shown.index("order.placed") < shown.index("stock.reserved") < shown.index("order.confirmed")


def test_one_table_for_all_services(shop: Shop) -> None:
    """The status has each service and each subscription; no dead letter is left by the other tests."""
    told = json.loads(run(shop.folder, "events", "status", "--json").stdout)
    assert set(told["services"]) == set(shop.services)
    assert told["failed"] == {}
    assert all(each["known"] for status in told["services"].values() for each in status["subscriptions"])
    assert "products.reserve_stock" in run(shop.folder, "events", "status").stdout


def test_dead_letters_of_one_service_and_of_all(shop: Shop) -> None:
    """Without a service all are asked; with one, its own command runs, with its exit status."""
    everywhere = json.loads(run(shop.folder, "events", "dead", "list", "--json").stdout)
    assert set(everywhere["services"]) == set(shop.services)
    missing = run(shop.folder, "events", "dead", "show", "999999", "--service", "order-service")
    assert missing.returncode == 1
    assert "There is no dead letter 999999" in missing.stderr
    wrong = run(shop.folder, "events", "dead", "list", "--since", "soon")
    assert wrong.returncode == 2, wrong.stderr
    assert wrong.stderr.count("'soon' is no time") == 1, "told once, however many services there are"
