"""The catalogue, and what of it is held for orders."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any, ClassVar

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

CURRENCY = "EUR"
"""The shop's one currency. A price still carries it, so that a second one can come without a change of the wire."""

MAX_STOCK = 2_147_483_647  # what the column holds
LEAST_LIMIT = 5  # pieces that one customer may always hold, however few there are

validate_sku = RegexValidator(
    r"\A[A-Z0-9][A-Z0-9-]{1,62}[A-Z0-9]\Z", "A SKU is 3 to 64 capital letters, digits and hyphens, as LAMP-0042."
)


class Product(models.Model):
    """Something that can be bought. The database itself holds the rules that money depends on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sku = models.CharField("SKU", max_length=64, unique=True, validators=[validate_sku])
    name = models.CharField(max_length=200)
    description = models.TextField(max_length=5000, blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))])
    currency = models.CharField(max_length=3, default=CURRENCY, editable=False)
    inventory_count = models.PositiveIntegerField(default=0)
    customer_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many pieces one customer may hold at once. Empty: a quarter of the stock, and at least five.",
    )
    is_featured = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(price__gt=0), name="product_price_above_zero"),
            models.CheckConstraint(condition=Q(inventory_count__gte=0), name="product_stock_not_negative"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["name", "id"], name="product_by_name"),
            models.Index(fields=["price", "id"], name="product_by_price"),
            models.Index(fields=["name"], name="product_featured", condition=Q(is_featured=True)),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a new product has the usual limit for its first stock, unless another is named."""
        if self._state.adding and self.customer_limit is None:
            self.customer_limit = usual_limit(self.inventory_count)
        super().save(*args, **kwargs)


def usual_limit(stock: int) -> int:
    """Return how many of so many pieces one customer may hold at once: a quarter, and at least a few."""
    return max(LEAST_LIMIT, stock // 4)


def change_stock(product_id: uuid.UUID, change: int) -> int | None:
    """Add ``change`` (negative: take) to a product's stock in one statement; return the new count, or None.

    None: there is no such product, or its stock would leave what a stock can be.
    """
    if not move_stock(product_id, change):
        return None
    # Inside a transaction the row is ours until the commit, so this is the count that our own UPDATE wrote.
    return Product.objects.values_list("inventory_count", flat=True).get(pk=product_id)


def move_stock(product_id: uuid.UUID, change: int) -> bool:
    """Add ``change`` (negative: take) to a product's stock in one statement, if it stays what a stock can be.

    The condition stands in the UPDATE itself, so that of any number of buyers at once only as many succeed as there are
    pieces.
    """
    changed = Product.objects.filter(
        pk=product_id, inventory_count__gte=max(0, -change), inventory_count__lte=MAX_STOCK - max(0, change)
    ).update(inventory_count=F("inventory_count") + change, updated_at=Now())
    return bool(changed)


class Reservation(models.Model):
    """What was decided about an order: its stock is held, was released, or could not be had.

    The row of an order is made once, by whichever of its events comes first. It is what makes a late or repeated event
    harmless: an order that was cancelled before its stock was reserved finds its row already released. ``reason`` is
    why an order was rejected.
    """

    class State(models.TextChoices):
        """What became of the stock."""

        HELD = "held"
        RELEASED = "released"
        REJECTED = "rejected"

    order_id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField(null=True)
    state = models.CharField(max_length=16, choices=State.choices)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["held", "released", "rejected"]), name="reservation_state_known"
            )
        ]

    def __str__(self) -> str:
        return f"order {self.order_id}: {self.state}"


class ReservedItem(models.Model):
    """How many pieces of one product an order holds."""

    reservation = models.ForeignKey(Reservation, models.CASCADE, related_name="items")
    product = models.ForeignKey(Product, models.PROTECT, related_name="reserved_items")
    quantity = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["reservation", "product"], name="reserved_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="reserved_quantity_above_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"


class CustomerHolding(models.Model):
    """The pieces of one product that a customer has reserved since ``since``, counted for a day.

    After a day the count starts again: the shop has neither payment nor delivery that would end a holding, so older
    orders count as sold. Change a row only while holding the lock of its product's row.
    """

    customer_id = models.UUIDField()
    product = models.ForeignKey(Product, models.CASCADE, related_name="holdings")
    pieces = models.PositiveIntegerField()
    since = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer_id", "product"], name="held_once")]

    def __str__(self) -> str:
        return f"{self.customer_id} holds {self.pieces} × {self.product_id}"
