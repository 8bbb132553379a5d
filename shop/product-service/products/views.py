"""The endpoints of products. Everybody reads; who writes is the table ``policy``."""

from __future__ import annotations

from typing import ClassVar

from bandstand.identity import IsService, IsStaff
from django.db import transaction
from django.db.models import ProtectedError
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.filters import SearchFilter
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from products.filters import ProductFilter, StableOrdering
from products.models import Product, change_stock
from products.serializers import ProductSerializer, StockChangeSerializer, StockSerializer


class StockWouldBeNegative(APIException):
    """There are fewer pieces than were to be taken."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "insufficient_stock"
    default_detail = "There is not that much of this product."


class ProductInUse(APIException):
    """Orders hold pieces of the product."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "product_in_use"
    default_detail = "Orders hold this product. Set its stock to zero to stop selling it."


class ProductViewSet(ModelViewSet[Product]):
    """The catalogue."""

    policy: ClassVar = {
        "list": [AllowAny],
        "retrieve": [AllowAny],
        "featured": [AllowAny],
        "update_inventory": [IsStaff | IsService],
    }
    object_policy = "everybody reads, staff writes"
    lookup_value_converter = "uuid"
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    filter_backends = (DjangoFilterBackend, SearchFilter, StableOrdering)
    filterset_class = ProductFilter
    search_fields = ("name", "description", "sku")
    ordering_fields = ("name", "price", "created_at", "inventory_count")
    ordering = ("name",)

    def get_permissions(self) -> list[BasePermission]:
        if self.action is None:  # a method that the route does not know: 405, whoever asks
            return []
        return [permission() for permission in self.policy.get(self.action, [IsStaff])]

    @action(detail=False)
    def featured(self, request: Request) -> Response:
        """The products that the shop shows first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset().filter(is_featured=True)))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=StockChangeSerializer, responses=StockSerializer)
    @action(detail=True, methods=["post"], filter_backends=[], pagination_class=None)
    def update_inventory(self, request: Request, pk: str) -> Response:
        """Add to the stock, or take from it; 409 where there is not enough."""
        change = StockChangeSerializer(data=request.data)
        change.is_valid(raise_exception=True)
        product = self.get_object()
        with transaction.atomic():
            count = change_stock(product.pk, change.validated_data["quantity"])
        if count is None:
            raise StockWouldBeNegative
        return Response(StockSerializer({"inventory_count": count}).data)

    def perform_destroy(self, instance: Product) -> None:
        try:
            instance.delete()
        except ProtectedError as error:
            raise ProductInUse from error
