"""What comes in and goes out as JSON."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from bandstand.api import IntegerField, UUIDField
from rest_framework import serializers

from orders.models import MAX_ITEMS, MAX_QUANTITY, Order, OrderItem


class WantedItemSerializer(serializers.Serializer[Any]):
    """How many pieces of which product somebody wants."""

    product_id = UUIDField()
    quantity = IntegerField(min_value=1, max_value=MAX_QUANTITY)


class PlacementSerializer(serializers.Serializer[Any]):
    """An order as a client asks for it. Prices and totals are not the client's to say."""

    items = WantedItemSerializer(many=True, allow_empty=False, max_length=MAX_ITEMS)

    def validate_items(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Refuse the same product twice: it is more likely a mistake than a wish."""
        ids = [item["product_id"] for item in items]
        if len(set(ids)) < len(ids):
            raise serializers.ValidationError("A product is named twice. Add the quantities up.", code="duplicate")
        return items

    @property
    def quantities(self) -> dict[UUID, int]:
        """How many pieces of which product, in the order of the request."""
        return {item["product_id"]: item["quantity"] for item in self.validated_data["items"]}


class OrderItemSerializer(serializers.ModelSerializer[OrderItem]):
    """A product of an order, as it was sold."""

    examples: ClassVar[dict[str, Any]] = {"name": "Desk lamp", "unit_price": "49.90", "quantity": 2}

    class Meta:
        model = OrderItem
        fields = ("product_id", "name", "unit_price", "quantity")
        read_only_fields = fields


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order as its buyer sees it."""

    examples: ClassVar[dict[str, Any]] = {"reason": "", "total_amount": "99.80", "currency": "EUR"}

    items = OrderItemSerializer(many=True, read_only=True)

    class Meta:
        model = Order
        fields = (
            "id", "status", "reason", "items", "total_amount", "currency", "user_email", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields
