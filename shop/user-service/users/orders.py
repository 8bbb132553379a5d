"""What the order service knows about a user."""

from typing import Any

import msgspec
from bandstand.client import ServiceClient
from bandstand.exceptions import ServiceResponseError
from django.http import Http404

_orders = ServiceClient("order-service")


class OrderPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of orders, as the order service numbers them; each order is passed on as it came."""

    count: int
    next: str | None = None
    previous: str | None = None
    results: list[dict[str, Any]]


def page_of_orders(user_id: str, *, page: int, authorization: str) -> OrderPage:
    """Ask the order service for a page of a user's orders, in the name of whoever ``authorization`` belongs to.

    What that one may see is for the order service to say: their own orders, or as staff everybody's. ``authorization``
    is ``Bearer …``.

    Raises:
        Http404: there is no such page.
        ServiceCallError: the order service failed, or answered with something else than a page.
    """
    try:
        answer = _orders.get("/api/v1/orders/", params={"user_id": user_id, "page": page}, on_behalf_of=authorization)
    except ServiceResponseError as error:
        if error.status == 404:
            raise Http404("There is no such page of orders.") from error
        raise
    return answer.json(OrderPage)
