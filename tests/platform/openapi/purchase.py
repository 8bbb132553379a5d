"""Buys in the shop with clients that openapi-python-client has made of the services' documents.

Run as ``purchase.py GATEWAY EMAIL`` with the generated packages on ``PYTHONPATH``; prints what it saw as JSON. It uses
nothing but the generated code, which knows paths, bodies and answers from the documents alone.
"""

import json
import sys
import uuid

from notification_client import AuthenticatedClient as NotificationClient
from notification_client.api.notifications import notifications_list
from order_client import AuthenticatedClient as OrderClient
from order_client.api.orders import orders_create, orders_list, orders_retrieve
from order_client.models import Order, PlacementRequest, Problem, WantedItemRequest
from product_client import Client as ProductClient
from product_client.api.products import products_list, products_retrieve
from product_client.models import Product
from user_client import AuthenticatedClient as UserClient
from user_client import Client
from user_client.api.users import users_authenticate_create, users_create, users_orders_retrieve, users_retrieve
from user_client.models import CredentialsRequest, RegistrationRequest, SignedIn, User

from tests.waiting import until

PASSWORD = "correct-horse-battery"


def register(gateway: str, email: str) -> User:
    body = RegistrationRequest(email=email, username=email.partition("@")[0], password=PASSWORD, first_name="Ada")
    user = users_create.sync(client=Client(base_url=gateway), body=body)
    assert isinstance(user, User), user
    return user


def sign_in(gateway: str, email: str) -> SignedIn:
    wrong = users_authenticate_create.sync_detailed(
        client=Client(base_url=gateway), body=CredentialsRequest(email=email, password="wrong-" + PASSWORD)
    )
    assert wrong.status_code == 401
    assert type(wrong.parsed).__name__ == "Problem"
    tokens = users_authenticate_create.sync(
        client=Client(base_url=gateway), body=CredentialsRequest(email=email, password=PASSWORD)
    )
    assert isinstance(tokens, SignedIn), tokens
    return tokens


def choose(gateway: str) -> Product:
    page = products_list.sync(client=ProductClient(base_url=gateway), in_stock=True, ordering="price", page_size=5)
    assert page is not None
    assert len(page.results) == 5
    assert page.next_ is not None
    assert page.count > 5
    product = products_retrieve.sync(page.results[0].id, client=ProductClient(base_url=gateway))
    assert product == page.results[0]
    return product


def buy(client: OrderClient, product: Product) -> Order:
    key = uuid.uuid4().hex
    wanted = PlacementRequest(items=[WantedItemRequest(product_id=product.id, quantity=1)])
    order = orders_create.sync(client=client, body=wanted, idempotency_key=key)
    assert isinstance(order, Order), order
    again = orders_create.sync(client=client, body=wanted, idempotency_key=key)
    assert again == order
    unknown = PlacementRequest(items=[WantedItemRequest(product_id=uuid.uuid4(), quantity=1)])
    refusal = orders_create.sync(client=client, body=unknown, idempotency_key=uuid.uuid4().hex)
    assert isinstance(refusal, Problem), refusal
    assert refusal.status == 400
    return order


def settled(client: OrderClient, order: Order) -> Order | None:
    now = orders_retrieve.sync(order.id, client=client)
    assert isinstance(now, Order), now
    return now if now.status.value != "pending" else None


def main(gateway: str, email: str) -> None:
    user = register(gateway, email)
    tokens = sign_in(gateway, email)
    assert tokens.user.id == user.id
    asked = users_retrieve.sync(user.id, client=UserClient(base_url=gateway, token=tokens.token))
    assert asked == tokens.user
    product = choose(gateway)
    client = OrderClient(base_url=gateway, token=tokens.token)
    order = buy(client, product)
    ended = until(lambda: settled(client, order), "the order leaves pending")
    listed = orders_list.sync(client=client)
    assert [each.id for each in listed.results] == [order.id]
    of_user = users_orders_retrieve.sync(user.id, client=UserClient(base_url=gateway, token=tokens.token))
    notes = until(
        lambda: notifications_list.sync(client=NotificationClient(base_url=gateway, token=tokens.token)).results,
        "a notification",
    )
    seen = {
        "user": str(user.id), "email": user.email, "product": str(product.id), "order": str(order.id),
        "status": ended.status.value, "total": ended.total_amount, "price": product.price, "of_user": of_user.count,
        "notes": [note.kind.value for note in notes],
    }  # fmt: skip
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
