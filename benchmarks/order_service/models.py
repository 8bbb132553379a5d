"""An order with its items, as the shop writes it, and what a handler writes."""

from typing import Any

from django.db import models


class Order(models.Model):
    """An order of a user."""

    user_id = models.UUIDField(db_index=True)
    user_email = models.EmailField()
    status = models.CharField(max_length=20, db_index=True)
    total_amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    shipping_address = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """Where it is."""

        db_table = "bench_order"

    def __str__(self) -> str:
        return str(self.pk)


class OrderItem(models.Model):
    """A line of an order."""

    order: "models.ForeignKey[Any, Any]" = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    product_id = models.UUIDField(db_index=True)
    product_name = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        """Where it is."""

        db_table = "bench_order_item"

    def __str__(self) -> str:
        return self.product_name


class Receipt(models.Model):
    """The one row that the handler writes; ``at`` is when the handler began, in seconds since the epoch."""

    number = models.BigIntegerField()
    at = models.FloatField()

    class Meta:
        """Where it is."""

        db_table = "bench_receipt"

    def __str__(self) -> str:
        return str(self.number)
