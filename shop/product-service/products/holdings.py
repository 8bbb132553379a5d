"""Holdings: the pieces of each product that one customer has reserved, and their limit.

Without a bound one account could hold the whole stock. Call these in the transaction that has changed the stock of the
same products: its row locks
serialize the orders of one customer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from products.models import CustomerHolding, Product, ReservedItem, usual_limit

PERIOD = timedelta(days=1)


class TooMany(Exception):
    """An order would exceed the customer's limit for a product; the text is for the buyer."""


def take(customer_id: uuid.UUID, quantities: Mapping[uuid.UUID, int], at: datetime) -> None:
    """Add the quantities of an order placed at ``at`` to its customer's holdings, in three queries.

    Raises:
        TooMany: it would be more than the limit of a product.
    """
    held = _held(customer_id, quantities, at)
    for product in Product.objects.filter(pk__in=quantities).only("name", "customer_limit", "inventory_count"):
        _check(product, quantities[product.pk], held[product.pk].pieces)
    for product_id, quantity in quantities.items():
        held[product_id].pieces += quantity
    CustomerHolding.objects.bulk_create(
        held.values(),
        update_conflicts=True,
        unique_fields=["customer_id", "product"],
        update_fields=["pieces", "since"],
    )


def give_back(customer_id: uuid.UUID, item: ReservedItem, at: datetime) -> None:
    """Subtract an item of an order placed at ``at`` from its customer's holdings."""
    CustomerHolding.objects.filter(customer_id=customer_id, product_id=item.product_id, since__lte=at).update(
        pieces=Greatest(F("pieces") - item.quantity, 0)
    )


def forget() -> None:
    """Delete holdings that no longer count."""
    CustomerHolding.objects.filter(since__lt=timezone.now() - 2 * PERIOD).delete()


def _held(
    customer_id: uuid.UUID, quantities: Mapping[uuid.UUID, int], at: datetime
) -> dict[uuid.UUID, CustomerHolding]:
    nothing = {
        product_id: CustomerHolding(customer_id=customer_id, product_id=product_id, pieces=0, since=at)
        for product_id in quantities
    }
    known = CustomerHolding.objects.filter(customer_id=customer_id, product_id__in=quantities, since__gt=at - PERIOD)
    # Without their ids: the upsert knows a row by its customer and product.
    return nothing | {
        holding.product_id: CustomerHolding(
            customer_id=customer_id, product_id=holding.product_id, pieces=holding.pieces, since=holding.since
        )
        for holding in known
    }


def _check(product: Product, wanted: int, held: int) -> None:
    limit = product.customer_limit or usual_limit(product.inventory_count + wanted)
    if held + wanted > limit:
        already = f", and you hold {held}" if held else ""
        raise TooMany(f"{product.name}: one customer may hold {limit} pieces at once{already}.")
