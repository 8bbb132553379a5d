"""What the shop is for, seen through the gateway alone."""

import uuid
from collections import defaultdict

import pytest

from tests.platform.conftest import Client, Person, Shop, eventually, run

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def ada(shop: Shop) -> Person:
    return shop.person("ada")


@pytest.fixture(scope="module")
def grace(shop: Shop) -> Person:
    return shop.person("grace")


def product_with_stock(shop: Shop, at_least: int = 5) -> dict:
    page = shop.client.get("/api/products/?ordering=price")
    assert page.status == 200
    return next(product for product in page.body["results"] if product["inventory_count"] >= at_least)


def order(person: Person, product: dict, quantity: int, *, key: str = "", correlation_id: str = ""):
    headers = {"Idempotency_Key": key or uuid.uuid4().hex}
    if correlation_id:
        headers["X_Correlation_ID"] = correlation_id
    return person.client.post(
        "/api/orders/", {"items": [{"product_id": product["id"], "quantity": quantity}]}, **headers
    )


def settled(person: Person, order_id: str) -> dict:
    def ended() -> dict | None:
        answer = person.client.get(f"/api/orders/{order_id}/")
        return answer.body if answer.status == 200 and answer.body["status"] != "pending" else None

    return eventually(ended, what=f"order {order_id} leaves pending")


def test_everybody_browses_the_catalogue(shop: Shop) -> None:
    """The seeded catalogue of at least 50 products is listed 20 a page, searched and filtered, without signing in."""
    page = shop.client.get("/api/products/").body
    assert page["count"] >= 50
    assert len(page["results"]) == 20
    following = page["next"].removeprefix(shop.gateway)
    assert following.startswith("/api/"), "links of a page lead through the gateway"
    assert shop.client.get(following).status == 200
    word = page["results"][0]["name"].split()[0]
    found = shop.client.get(f"/api/products/?search={word}").body
    assert 1 <= found["count"] < page["count"]
    cheap = shop.client.get("/api/products/?max_price=20&ordering=-price").body["results"]
    prices = [float(product["price"]) for product in cheap]
    assert prices == sorted(prices, reverse=True)
    assert max(prices) <= 20
    assert all(product["is_featured"] for product in shop.client.get("/api/products/featured/").body["results"])


def test_a_purchase_goes_through(shop: Shop, ada: Person) -> None:
    """An order is placed, stock falls, the order is confirmed and the buyer is notified."""
    product = product_with_stock(shop)
    placed = order(ada, product, 2)
    assert placed.status == 201, placed
    assert placed.body["status"] == "pending"
    assert placed.body["user_email"] == ada.email
    assert placed.body["currency"] == product["currency"]
    assert float(placed.body["total_amount"]) == pytest.approx(2 * float(product["price"]))
    assert settled(ada, placed.body["id"])["status"] == "confirmed"
    after = shop.client.get(f"/api/products/{product['id']}/").body
    assert after["inventory_count"] == product["inventory_count"] - 2

    def notified() -> bool:
        notes = ada.client.get("/api/notifications/").body["results"]
        return any(placed.body["id"] in str(note) for note in notes)

    eventually(notified, what="the notification of the confirmed order")
    eventually(
        lambda: any(ada.email in mail.read_text(errors="replace") for mail in shop.mail.iterdir()), what="the mail"
    )


def test_the_newcomer_is_welcomed(shop: Shop) -> None:
    """Registering sends one welcome mail by event."""
    person = shop.person("newcomer")

    def mails() -> list[str]:
        texts = [path.read_text(errors="replace") for path in shop.mail.iterdir()] if shop.mail.exists() else []
        return [text for text in texts if person.email in text]

    assert len(eventually(mails, what="the welcome mail")) == 1


def test_more_than_the_stock_is_rejected(shop: Shop, ada: Person) -> None:
    """An order beyond stock ends rejected with a reason, and stock stays."""
    page = shop.client.get("/api/products/?ordering=price").body["results"]
    product = next(product for product in page if 0 < product["inventory_count"] < 1000)
    placed = order(ada, product, product["inventory_count"] + 1)
    assert placed.status == 201, placed
    ended = settled(ada, placed.body["id"])
    assert ended["status"] == "rejected"
    assert ended["reason"]
    after = shop.client.get(f"/api/products/{product['id']}/").body
    assert after["inventory_count"] == product["inventory_count"]


def test_the_same_order_twice_is_one_order(shop: Shop, ada: Person) -> None:
    """A repeated idempotency key gives the same order back, another body under it is refused, none at all too."""
    product = product_with_stock(shop)
    key = uuid.uuid4().hex
    first, second = order(ada, product, 1, key=key), order(ada, product, 1, key=key)
    assert first.status == 201
    assert second.body["id"] == first.body["id"]
    assert order(ada, product, 3, key=key).status == 422
    missing = ada.client.post("/api/orders/", {"items": [{"product_id": product["id"], "quantity": 1}]})
    assert missing.status == 400
    assert settled(ada, first.body["id"])["status"] == "confirmed"


def test_a_cancelled_order_gives_the_stock_back(shop: Shop, ada: Person) -> None:
    """Cancelling a confirmed order releases what it held."""
    product = product_with_stock(shop)
    placed = order(ada, product, 1).body
    settled(ada, placed["id"])
    cancelled = ada.client.post(f"/api/orders/{placed['id']}/cancel/", {})
    assert cancelled.status == 200, cancelled
    assert ada.client.get(f"/api/orders/{placed['id']}/").body["status"] == "cancelled"

    def returned() -> bool:
        now = shop.client.get(f"/api/products/{product['id']}/").body
        return bool(now["inventory_count"] == product["inventory_count"])

    eventually(returned, what="the stock comes back")


def test_what_nobody_confirms_comes_back(shop: Shop, ada: Person) -> None:
    """The worker rejects an order whose confirmation was lost long ago, and its stock is returned."""
    product = product_with_stock(shop)
    placed = order(ada, product, 1).body
    assert settled(ada, placed["id"])["status"] == "confirmed"
    before = shop.client.get(f"/api/products/{product['id']}/").body["inventory_count"]
    lost = f"Order.objects.filter(pk='{placed['id']}').update(status='pending', created_at='2020-01-01T00:00:00Z')"
    done = run(
        *(shop.folder, "exec", "order-service", "--"),
        *("python", "manage.py", "shell", "-c", f"from orders.models import Order; {lost}"),
    )
    assert done.returncode == 0, done.stderr
    ended = settled(ada, placed["id"])
    assert ended["status"] == "rejected"
    assert "could not be confirmed in time" in ended["reason"]

    def returned() -> bool:
        now = shop.client.get(f"/api/products/{product['id']}/").body
        return bool(now["inventory_count"] == before + 1)

    eventually(returned, what="the stock comes back")


def test_nobody_sees_anothers_data(shop: Shop, ada: Person, grace: Person) -> None:
    """Another user's account, profile, orders and notifications are refused; so is everything to strangers."""
    placed = order(ada, product_with_stock(shop), 1).body
    for path in (f"/api/users/{ada.id}/", f"/api/users/{ada.id}/profile/", f"/api/users/{ada.id}/orders/"):
        assert grace.client.get(path).status in {403, 404}, path
        assert shop.client.get(path).status == 401, path
        assert ada.client.get(path).status == 200, path
    assert grace.client.get(f"/api/orders/{placed['id']}/").status in {403, 404}
    assert grace.client.get("/api/users/").status == 403
    assert placed["id"] not in str(grace.client.get("/api/orders/").body)
    assert placed["id"] not in str(grace.client.get("/api/notifications/").body)
    change = grace.client.post(f"/api/users/{ada.id}/change_password/", {"old_password": "x", "new_password": "y"})
    assert change.status in {403, 404}


def test_a_user_asks_for_the_own_orders(shop: Shop, ada: Person) -> None:
    """The user service answers with what the order service knows."""
    placed = order(ada, product_with_stock(shop), 1).body
    assert placed["id"] in str(ada.client.get(f"/api/users/{ada.id}/orders/").body)


def test_signing_out_ends_buying(shop: Shop, ada: Person) -> None:
    """A stolen copy of the token places no more orders once the order service has received the event."""
    grace = shop.person("grace")
    assert grace.client.sign_in is not None
    credentials = {"email": grace.email, "password": grace.client.sign_in.password}
    signed_in = shop.client.post("/api/users/authenticate/", credentials).body
    thief = Person(id=grace.id, email=grace.email, client=Client(base=shop.gateway, fixed_token=signed_in["token"]))
    product = product_with_stock(shop)
    placed = order(thief, product, 1)
    assert placed.status == 201
    settled(thief, placed.body["id"])
    assert shop.client.post("/api/users/token/revoke/", {"refresh": signed_in["refresh"]}).status == 204
    refused = eventually(lambda: (answer := order(thief, product, 1)).status == 401 and answer, what="the end of it")
    assert refused.body["code"] == "signed_out"
    for person in (grace, ada):
        placed = order(person, product, 1)
        assert placed.status == 201
        settled(person, placed.body["id"])


def test_one_correlation_id_in_all_services(shop: Shop, ada: Person) -> None:
    """The id of the buyer's request is found in the logs of every service that took part, web and worker."""
    correlation_id = f"purchase-{uuid.uuid4().hex[:12]}"
    placed = order(ada, product_with_stock(shop), 1, correlation_id=correlation_id)
    assert placed.headers["x-correlation-id"] == correlation_id
    settled(ada, placed.body["id"])
    wanted = {"order-service", "user-service", "product-service", "notification-service"}

    def seen() -> bool:
        by_service = defaultdict(list)
        for records in shop.logs().values():
            for record in records:
                if record.get("correlation_id") == correlation_id:
                    by_service[record.get("service")].append(record)
        return wanted <= set(by_service)

    eventually(seen, what=f"{correlation_id} in the logs of {wanted}")


def test_the_same_paths_answer_with_the_version(shop: Shop) -> None:
    """/api/products/ and /api/v1/products/ are the same resource; a longer name is not."""
    assert shop.client.get("/api/v1/products/").body["count"] == shop.client.get("/api/products/").body["count"]
    assert shop.client.get("/api/productsX/").status == 404
    assert shop.client.get("/.well-known/jwks.json").body["keys"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/users/", {"email": "not-an-address", "username": "x", "password": "1"}),
        ("POST", "/api/users/", [1, 2, 3]),
        ("POST", "/api/users/", {"email": "a\u0000b@example.com", "username": "x", "password": "correct-horse"}),
        ("POST", "/api/users/authenticate/", {"email": 7, "password": None}),
        ("GET", "/api/products/?min_price=abc", None),
        ("GET", "/api/products/?page=99999999999999999999", None),
        ("GET", "/api/products/?search=%00", None),
        ("GET", "/api/products/not-a-uuid/", None),
        ("GET", "/api/nothing/", None),
        ("POST", "/api/orders/", {"items": "all"}),
    ],
)
def test_bad_requests_get_problem_answers(shop: Shop, method: str, path: str, body: object) -> None:
    """A bad request is answered with a 400-class problem document and never with a 500."""
    answer = shop.client.request(method, path, body)
    assert 400 <= answer.status < 500, answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.body["status"] == answer.status
    assert answer.body["code"]


def test_internal_pages_stay_inside(shop: Shop) -> None:
    """Health, metrics and the admin of a service are not reachable from outside."""
    for path in ("/health/", "/metrics", "/admin/", "/api/schema/", "/api/docs/"):
        assert shop.client.get(path).status == 404, path


def test_a_gateway_client_cannot_play_a_service(shop: Shop) -> None:
    """Headers that the platform trusts are dropped at the gateway."""
    answer = shop.client.get("/api/users/", X_Service_Token="forged", X_User_Id="1", X_Request_Timeout_Ms="1")
    assert answer.status == 401
    assert answer.body["code"] != "invalid_token", "the forged token never reached the service"
