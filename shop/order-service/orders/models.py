"""Orders and what was bought with them."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

MAX_QUANTITY = 1000  # pieces of one product
MAX_ITEMS = 50  # products in one order
MAX_PRICE = 10**8  # what one piece costs at most is just below; 50 times 1000 pieces of it fit into a total


class Order(models.Model):
    """What somebody wants to buy, at the prices of that moment.

    The e-mail address and the prices are copies: what was agreed stays, whatever becomes of the account or the
    catalogue.
    """

    class Status(models.TextChoices):
        """``pending`` until the stock is known, for a while; ``cancelled`` and ``rejected`` are for good."""

        PENDING = "pending"
        CONFIRMED = "confirmed"
        REJECTED = "rejected"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.UUIDField()
    user_email = models.EmailField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    reason = models.CharField(max_length=500, blank=True)
    total_amount = models.DecimalField(max_digits=16, decimal_places=2)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(total_amount__gt=0), name="order_total_above_zero"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "confirmed", "rejected", "cancelled"]), name="order_status_known"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["user_id", "-created_at", "-id"], name="order_of_user"),
            models.Index(fields=["-created_at", "-id"], name="order_newest"),
            models.Index(fields=["created_at"], name="order_pending", condition=Q(status="pending")),
        ]

    def __str__(self) -> str:
        return f"order {self.pk} ({self.status})"

    def move(self, *before: str, to: str, reason: str = "") -> bool:
        """Change the status from one of ``before``; return False, and change nothing, when it is another by now.

        One conditional UPDATE: of two who move the same order at once, one succeeds.
        """
        changes = {"status": to, "reason": reason[:500]}
        moved = Order.objects.filter(pk=self.pk, status__in=before).update(**changes, updated_at=Now())
        if moved:
            self.refresh_from_db(fields=["status", "reason", "updated_at"])
        return bool(moved)


class OrderItem(models.Model):
    """One product of an order, with its name and price at the time."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="items")
    position = models.PositiveSmallIntegerField()
    product_id = models.UUIDField()
    name = models.CharField(max_length=200)
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "product_id"], name="product_once_in_an_order"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="item_quantity_above_zero"),
            models.CheckConstraint(condition=Q(unit_price__gt=0), name="item_price_above_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def amount(self) -> Decimal:
        """What this item costs."""
        return self.unit_price * self.quantity
