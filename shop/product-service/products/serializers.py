"""What comes in and goes out as JSON."""

from typing import Any

from bandstand.api import ChangesOnlySerializer
from rest_framework import serializers

from products.models import MAX_STOCK, Product


class ProductSerializer(ChangesOnlySerializer[Product]):
    """A product as everybody sees it, and as staff changes it: all but its stock, which orders change meanwhile."""

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

    quantity = serializers.IntegerField(min_value=-MAX_STOCK, max_value=MAX_STOCK)


class StockSerializer(serializers.Serializer[Any]):
    """The stock after a change."""

    inventory_count = serializers.IntegerField(read_only=True)
