"""What comes in and goes out as JSON."""

from typing import Any, ClassVar

from bandstand.api import ChangesOnlySerializer, IntegerField
from rest_framework import serializers

from products.models import MAX_STOCK, Product


class ProductSerializer(ChangesOnlySerializer[Product]):
    """A product as everybody sees it, and as staff changes it: all but its stock, which orders change meanwhile."""

    examples: ClassVar[dict[str, Any]] = {
        "sku": "LAMP-1", "name": "Desk lamp", "description": "A lamp for the desk.", "price": "49.90",
        "currency": "EUR", "inventory_count": 25,
    }  # fmt: skip

    class Meta:
        model = Product
        fields = (
            "id", "sku", "name", "description", "price", "currency", "inventory_count", "customer_limit", "is_featured",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = ("currency", "inventory_count", "created_at", "updated_at")


class NewProductSerializer(ProductSerializer):
    """A product that staff adds, with its first stock."""

    class Meta(ProductSerializer.Meta):
        read_only_fields = ("currency", "created_at", "updated_at")


class StockChangeSerializer(serializers.Serializer[Any]):
    """A change of stock: pieces that came in, or, below zero, went out."""

    examples: ClassVar[dict[str, Any]] = {"quantity": -5}

    quantity = IntegerField(min_value=-MAX_STOCK, max_value=MAX_STOCK)


class StockSerializer(serializers.Serializer[Any]):
    """The stock after a change."""

    examples: ClassVar[dict[str, Any]] = {"inventory_count": 20}

    inventory_count = IntegerField(read_only=True)
