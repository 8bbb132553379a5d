"""The endpoints of users. Who may use which is the table ``policy``; an action that it does not name is refused."""

from __future__ import annotations

from typing import Any, ClassVar

from bandstand.api import LoginThrottle, PolicyTable, StableOrderingFilter, raises, save_unique
from bandstand.exceptions import ServiceCallError
from bandstand.identity import IsService, IsStaff
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, NotFound, ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.urls import replace_query_param
from rest_framework.viewsets import GenericViewSet, ViewSet

from users import sign_in
from users.authentication import NoToken
from users.models import User, UserProfile
from users.orders import page_of_orders
from users.permissions import IsSelf
from users.serializers import (
    CredentialsSerializer,
    OrderPageSerializer,
    PasswordChangeSerializer,
    ProfileSerializer,
    RefreshSerializer,
    RegistrationSerializer,
    SignedInSerializer,
    TokensSerializer,
    UserSerializer,
)

self_or_staff = [IsSelf | IsStaff]


class UserViewSet(
    PolicyTable,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    GenericViewSet[User],
):
    """Register, and read and change what the service knows about a user."""

    policy: ClassVar[dict[str, list[Any]]] = {
        "create": [AllowAny],
        "list": [IsStaff],
        "retrieve": [IsSelf | IsStaff | IsService],
        "update": self_or_staff,
        "partial_update": self_or_staff,
        "profile": self_or_staff,
        "change_profile": self_or_staff,
        "change_password": [IsSelf],
        "orders": self_or_staff,
    }
    lookup_value_converter = "any_case_uuid"
    queryset = User.objects.all()
    serializer_class = UserSerializer
    filter_backends = (SearchFilter, StableOrderingFilter)
    search_fields = ("email", "username", "first_name", "last_name")
    ordering_fields = ("created_at", "email", "username")

    def get_serializer_class(self) -> type[BaseSerializer[User]]:
        return RegistrationSerializer if self.action == "create" else UserSerializer

    @extend_schema(responses={201: UserSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Register. The answer is the new user, who can sign in at once."""
        return super().create(request, *args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[User]) -> None:
        save_unique(serializer)

    def perform_update(self, serializer: BaseSerializer[User]) -> None:
        save_unique(serializer)

    @extend_schema(responses=ProfileSerializer)
    @action(detail=True)
    def profile(self, request: Request, pk: str) -> Response:
        """Retrieve what a user tells about themselves."""
        return Response(ProfileSerializer(get_object_or_404(UserProfile, user_id=pk)).data)

    @extend_schema(request=ProfileSerializer, responses=ProfileSerializer)
    @profile.mapping.put
    def change_profile(self, request: Request, pk: str) -> Response:
        """Change what is told; a field that is left out keeps its value."""
        serializer = ProfileSerializer(get_object_or_404(UserProfile, user_id=pk), data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)

    @extend_schema(request=PasswordChangeSerializer, responses=TokensSerializer)
    @action(detail=True, methods=["post"], throttle_classes=[LoginThrottle])
    def change_password(self, request: Request, pk: str) -> Response:
        """Set a new password. Every sign-in ends, and a new one begins with the tokens in the answer."""
        serializer = PasswordChangeSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        tokens = sign_in.change_password(request.user, serializer.validated_data["new_password"])
        if tokens is None:
            raise ValidationError({"old_password": ["This is not your password any more."]}, code="wrong_password")
        LoginThrottle.forgive(request)
        return Response(TokensSerializer(tokens).data)

    @extend_schema(
        parameters=[OpenApiParameter("page", {"type": "integer", "minimum": 1})], responses=OrderPageSerializer
    )
    @action(detail=True)
    @raises(ServiceCallError)
    def orders(self, request: Request, pk: str) -> Response:
        """List the user's orders, newest first, as the order service knows them."""
        authorization = request.headers.get("Authorization")
        if authorization is None:  # signed in by a session of the browsable API, which no other service knows
            raise NotAuthenticated
        page = page_of_orders(str(pk), page=page_number(request), authorization=authorization)
        return Response(
            {
                "count": page.count,
                "next": link_to(request, page_number(request) + 1) if page.next else None,
                "previous": link_to(request, page_number(request) - 1) if page.previous else None,
                "results": page.results,
            }
        )


class SignInViewSet(ViewSet):
    """Passwords for tokens, and refresh tokens for newer ones. Everybody may try; a token in the header is ignored."""

    authentication_classes = (NoToken,)
    permission_classes = (AllowAny,)

    @extend_schema(auth=[], request=CredentialsSerializer, responses=SignedInSerializer)
    @action(detail=False, methods=["post"], throttle_classes=[LoginThrottle])
    def authenticate(self, request: Request) -> Response:
        """Sign in with e-mail address and password."""
        credentials = validated(CredentialsSerializer, request)
        user = sign_in.authenticate(credentials["email"], credentials["password"])
        tokens = None if user is None else sign_in.sign_in(user)
        if tokens is None:
            raise AuthenticationFailed("The e-mail address or the password is wrong.")
        LoginThrottle.forgive(request)
        signed_in = {**tokens._asdict(), "device": LoginThrottle.device_token(request)}
        return Response(SignedInSerializer(signed_in).data)

    @extend_schema(auth=[], request=RefreshSerializer, responses=TokensSerializer)
    @action(detail=False, methods=["post"], url_path="token/refresh")
    def refresh(self, request: Request) -> Response:
        """Exchange a refresh token for new tokens. It works once: one that comes back ends the whole sign-in."""
        tokens = sign_in.refresh(validated(RefreshSerializer, request)["refresh"])
        if tokens is None:
            raise AuthenticationFailed("This refresh token is not valid. Sign in again.")
        return Response(TokensSerializer(tokens).data)

    @extend_schema(auth=[], request=RefreshSerializer, responses={204: None})
    @action(detail=False, methods=["post"], url_path="token/revoke")
    def revoke(self, request: Request) -> Response:
        """Sign out: end the sign-in that a refresh token belongs to. An unknown token is no error."""
        sign_in.revoke(validated(RefreshSerializer, request)["refresh"])
        return Response(status=status.HTTP_204_NO_CONTENT)


def validated(serializer_class: type[BaseSerializer[Any]], request: Request) -> dict[str, Any]:
    """Return the request's body as ``serializer_class`` understands it.

    Raises:
        ValidationError: with each fault of each field.
    """
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return data


def page_number(request: Request) -> int:
    """Return the number of the page that is asked for.

    Raises:
        NotFound: it is no number from 1 on.
    """
    page = request.query_params.get("page", "1")
    if not (page.isascii() and page.isdigit() and 0 < len(page) < 10 and int(page)):
        raise NotFound("Invalid page.")
    return int(page)


def link_to(request: Request, page: int) -> str:
    """Return the address of another page of the list that is asked for."""
    return replace_query_param(request.build_absolute_uri(), "page", page)
