"""What comes in and goes out as JSON."""

from rest_framework import serializers

from products.models import MAX_STOCK, Product


class ProductSerializer(serializers.ModelSerializer[Product]):
    """A product as everybody sees it, and as staff changes it. Stock has an endpoint of its own."""

    class Meta:
        model = Product
        fields = (
            "id", "sku", "name", "description", "price", "currency", "inventory_count", "is_featured",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("currency", "created_at", "updated_at")

    def update(self, instance: Product, validated_data: dict[str, object]) -> Product:
        """Write only what was sent, and never the stock, which orders change at the same time."""
        validated_data.pop("inventory_count", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=[*validated_data, "updated_at"])
        return instance


class StockChangeSerializer(serializers.Serializer[object]):
    """A change of stock: pieces that came in, or, below zero, went out."""

    quantity = serializers.IntegerField(min_value=-MAX_STOCK, max_value=MAX_STOCK)


class StockSerializer(serializers.Serializer[object]):
    """The stock after a change."""

    inventory_count = serializers.IntegerField(read_only=True)
