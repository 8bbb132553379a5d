"""The endpoints of products. Everybody reads, staff writes: the table ``policy``."""

from __future__ import annotations

from typing import Any, ClassVar

from bandstand.api import FilterBackend, PolicyTable, StableOrderingFilter, idempotent, raises, save_unique
from bandstand.identity import IsStaff
from django.db import transaction
from django.db.models import ProtectedError, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.filters import SearchFilter
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from products.filters import ProductFilter
from products.models import Product, change_stock
from products.serializers import NewProductSerializer, ProductSerializer, StockChangeSerializer, StockSerializer


class StockImpossible(APIException):
    """The stock would fall below zero, or rise above what can be counted."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "insufficient_stock"
    default_detail = "There is not that much of this product."


class ProductInUse(APIException):
    """Orders tell of the product."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "product_in_use"
    default_detail = "There are orders for this product. Set its stock to zero to stop selling it."


class ProductViewSet(PolicyTable, ModelViewSet[Product]):
    """The catalogue."""

    policy: ClassVar[dict[str, list[Any]]] = {
        "list": [AllowAny],
        "featured": [AllowAny],
        "retrieve": [AllowAny],
        "create": [IsStaff],
        "update": [IsStaff],
        "partial_update": [IsStaff],
        "destroy": [IsStaff],
        "update_inventory": [IsStaff],
    }
    lookup_value_converter = "any_case_uuid"
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    filter_backends = (FilterBackend, SearchFilter, StableOrderingFilter)
    filterset_class = ProductFilter
    search_fields = ("name", "description", "sku")
    ordering_fields = ("name", "price", "created_at", "inventory_count")
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[Product]:
        """Return the products that the action is about."""
        products = super().get_queryset()
        return products.filter(is_featured=True) if self.action == "featured" else products

    def get_serializer_class(self) -> type[BaseSerializer[Product]]:
        return NewProductSerializer if self.action == "create" else ProductSerializer

    def perform_create(self, serializer: BaseSerializer[Product]) -> None:
        save_unique(serializer)

    def perform_update(self, serializer: BaseSerializer[Product]) -> None:
        save_unique(serializer)

    @raises(ProductInUse)
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete a product that no order contains."""
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: Product) -> None:
        try:
            instance.delete()
        except ProtectedError as error:
            raise ProductInUse from error

    @extend_schema(responses=ProductSerializer(many=True))
    @action(detail=False)
    def featured(self, request: Request) -> Response:
        """List the products that the shop shows first."""
        return self.list(request)

    @extend_schema(request=StockChangeSerializer, responses=StockSerializer)
    @action(detail=True, methods=["post"], filter_backends=[], pagination_class=None)
    @raises(StockImpossible)
    @idempotent(required=False)
    def update_inventory(self, request: Request, pk: str) -> Response:
        """Add to the stock, or take from it; 409 where there is not enough. With a key it is safe to repeat."""
        product = self.get_object()
        change = StockChangeSerializer(data=request.data)
        change.is_valid(raise_exception=True)
        with transaction.atomic():
            count = change_stock(product.pk, change.validated_data["quantity"])
        if count is None:
            raise StockImpossible
        return Response(StockSerializer({"inventory_count": count}).data)
