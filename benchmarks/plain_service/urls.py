"""The endpoints: products with the fields, filters and order of the shop's service."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django_filters.rest_framework import DjangoFilterBackend
from products.filters import ProductFilter
from products.models import Product
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.permissions import SAFE_METHODS, AllowAny, BasePermission, IsAdminUser
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet


class ProductSerializer(ModelSerializer[Product]):
    """A product, with the fields of the shop's."""

    class Meta:
        """Which fields, and who writes them."""

        model = Product
        fields = (
            "id", "sku", "name", "description", "price", "currency", "inventory_count", "is_featured",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("currency", "created_at", "updated_at")


class ProductViewSet(ModelViewSet[Product]):
    """Everybody reads, staff writes."""

    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    filter_backends = (DjangoFilterBackend, SearchFilter, OrderingFilter)
    filterset_class = ProductFilter
    search_fields = ("name", "description", "sku")
    ordering_fields = ("name", "price", "created_at", "inventory_count")
    ordering = ("name",)
    policy: ClassVar[dict[bool, type[BasePermission]]] = {True: AllowAny, False: IsAdminUser}

    def get_permissions(self) -> list[Any]:
        """Return the one that the method needs."""
        return [self.policy[self.request.method in SAFE_METHODS]()]


router = DefaultRouter()
router.register("products", ProductViewSet)

urlpatterns = [path("admin/", admin.site.urls), path("api/v1/", include(router.urls))]

if settings.PACKAGES:
    from drf_spectacular.views import SpectacularAPIView

    urlpatterns += [
        path("", include("django_prometheus.urls")),
        path("api/schema/", SpectacularAPIView.as_view()),
    ]
