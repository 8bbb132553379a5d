"""What the order service asks the others before it writes an order: who buys, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

import msgspec
from bandstand.client import Resource, ServiceClient
from bandstand.exceptions import ServiceResponseError
from rest_framework.exceptions import PermissionDenied, ValidationError

from orders.models import MAX_PRICE

_users = ServiceClient("user-service")
_products = ServiceClient("product-service")


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """What an order keeps of a user."""

    id: UUID
    email: str
    is_active: bool


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What an order keeps of a product.

    A price that is none makes the whole answer unusable: what could not be charged is never sold.
    """

    id: UUID
    name: str
    price: Decimal
    currency: str

    def __post_init__(self) -> None:
        exponent = self.price.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -2 or not 0 < self.price < MAX_PRICE:
            raise ValueError(f"{self.price} is not a price")


_PRODUCT = Resource(path="/api/v1/products/", item=Product)


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an order is made of: the buyer, and each product with the quantity."""

    buyer: Buyer
    lines: tuple[tuple[Product, int], ...]

    @property
    def total(self) -> Decimal:
        """What all of it costs: always computed here, whatever the client thinks."""
        return sum((product.price * quantity for product, quantity in self.lines), Decimal(0))

    @property
    def currency(self) -> str:
        """The one currency of all lines."""
        return self.lines[0][0].currency


def quote(user_id: UUID, quantities: Mapping[UUID, int]) -> Quote:
    """Ask who the buyer is and what the products cost: two calls, however many products.

    Raises:
        PermissionDenied: the account does not exist any more or was closed.
        ValidationError: a product is not sold, or the products have different currencies.
        ServiceCallError: a service could not be asked.
    """
    buyer = _buyer(user_id)
    known = _products.load(_PRODUCT, quantities)
    missing = [product_id for product_id, product in known.items() if product is None]
    if missing:
        raise ValidationError({"items": [f"There is no product {name}." for name in missing]}, code="unknown_product")
    lines = tuple((product, quantities[product_id]) for product_id, product in known.items() if product)
    if len({product.currency for product, _ in lines}) > 1:
        raise ValidationError({"items": ["These products have different currencies."]}, code="mixed_currencies")
    return Quote(buyer=buyer, lines=lines)


def _buyer(user_id: UUID) -> Buyer:
    try:
        buyer = _users.get(f"/api/v1/users/{user_id}/").json(Buyer)
    except ServiceResponseError as error:
        if error.status != 404:
            raise
        raise PermissionDenied("This account does not exist any more.", code="unknown_account") from error
    if not buyer.is_active:
        raise PermissionDenied("This account is closed.", code="closed_account")
    return buyer
