"""The endpoints of orders: everybody sees and changes their own, staff looks at all."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from bandstand.api import FilterBackend, PolicyTable, SignInIsCurrent, idempotent, raises
from bandstand.exceptions import ServiceCallError
from bandstand.identity import owner_or_staff
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from orders import placing
from orders.buying import Quote, quote
from orders.models import Order
from orders.permissions import IsBuyer, IsCustomer
from orders.serializers import OrderSerializer, PlacementSerializer


class NotCancellable(APIException):
    """The order ended otherwise."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_cancellable"
    default_detail = "Only an order that is pending or confirmed can be cancelled."


class OrderFilter(filters.FilterSet):
    """What a list of orders can be narrowed to; another user's id only narrows it to nothing."""

    status = filters.ChoiceFilter(choices=Order.Status.choices)
    user_id = filters.UUIDFilter()

    class Meta:
        model = Order
        fields = ("status", "user_id")


def priced(_view: OrderViewSet, request: Request) -> Quote:
    """Read the body, and ask the other services what they know of it: before any transaction begins."""
    wanted = PlacementSerializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    return quote(UUID(request.user.pk), wanted.quantities)


class OrderViewSet(PolicyTable, mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Order]):
    """Place, look at and cancel orders."""

    policy: ClassVar[dict[str, list[Any]]] = {
        "list": [IsCustomer],
        "create": [IsCustomer & SignInIsCurrent],  # it costs money: a token of an ended sign-in does not buy
        "retrieve": [IsCustomer & owner_or_staff("user_id")],
        "cancel": [IsBuyer],
    }
    lookup_value_converter = "any_case_uuid"
    queryset = Order.objects.all()
    serializer_class = OrderSerializer
    filter_backends = (FilterBackend,)
    filterset_class = OrderFilter

    def get_queryset(self) -> QuerySet[Order]:
        """Return what the user may see: another's order does not exist for them."""
        orders = Order.objects.prefetch_related("items")
        return orders if self.request.user.is_staff else orders.filter(user_id=self.request.user.pk)

    @extend_schema(request=PlacementSerializer, responses={201: OrderSerializer})
    @raises(ServiceCallError)
    @idempotent(prepare=priced)
    def create(self, request: Request, *, prepared: Quote) -> Response:
        """Place an order. It is pending until its stock is known; then confirmed, or rejected with a reason."""
        order = placing.place(prepared)
        return Response(self.get_serializer(order).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=OrderSerializer)
    @action(detail=True, methods=["post"], filter_backends=[])
    @raises(NotCancellable)
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel an order that is pending or confirmed. Doing it twice is no error."""
        order = self.get_object()
        if not placing.cancel(order):
            raise NotCancellable
        return Response(self.get_serializer(order).data)
