import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from bandstand.identity import IsService, IsStaff, ServiceOr, TokenUser, is_service, owner_or_staff

OWNER = TokenUser(id="u-1")
ASKERS: dict[str, dict[str, Any]] = {
    "owner": {"user": OWNER},
    "other user": {"user": TokenUser(id="u-2")},
    "anonymous": {"user": AnonymousUser()},
    "no user": {"user": None},
    "staff": {"user": TokenUser(id="s-1", is_staff=True)},
    "service": {"user": AnonymousUser(), "service": "order-service"},
    "other service": {"user": AnonymousUser(), "service": "product-service"},
    "service for the owner": {"user": OWNER, "service": "order-service"},
}
ORDER = SimpleNamespace(user_id="u-1", user=SimpleNamespace(pk="u-1"))


def ask(asker: str | TokenUser, permission: Any, obj: object = ORDER) -> str:
    """What the asker gets: "object", "view" (but not this object) or "nothing"."""
    who = ASKERS[asker] if isinstance(asker, str) else {"user": asker}
    raw = APIRequestFactory().get("/")
    raw.service = who.get("service")
    request = Request(raw)
    request.user = who["user"]
    policy, view = permission(), APIView()
    if not policy.has_permission(request, view):
        return "nothing"
    return "object" if policy.has_object_permission(request, view, obj) else "view"


# asker:                          owner     other     anonymous  no user    staff     service   other s.  for owner
TABLE: dict[str, tuple[Any, tuple[str, ...]]] = {
    "IsService": (IsService, ("nothing", "nothing", "nothing", "nothing", "nothing", "object", "object", "object")),
    "is_service(order-service)": (
        is_service("order-service"),
        ("nothing", "nothing", "nothing", "nothing", "nothing", "object", "nothing", "object"),
    ),
    "is_service(two)": (
        is_service("order-service", "product-service"),
        ("nothing", "nothing", "nothing", "nothing", "nothing", "object", "object", "object"),
    ),
    "IsStaff": (IsStaff, ("nothing", "nothing", "nothing", "nothing", "object", "nothing", "nothing", "nothing")),
    "owner_or_staff": (
        owner_or_staff("user_id"),
        ("object", "view", "nothing", "nothing", "object", "nothing", "nothing", "object"),
    ),
    "owner_or_staff(dotted)": (
        owner_or_staff("user.pk"),
        ("object", "view", "nothing", "nothing", "object", "nothing", "nothing", "object"),
    ),
    "IsService | owner_or_staff": (
        IsService | owner_or_staff("user_id"),
        ("object", "view", "nothing", "nothing", "object", "object", "object", "object"),
    ),
    "owner_or_staff | is_service": (
        owner_or_staff("user_id") | is_service("order-service"),
        ("object", "view", "nothing", "nothing", "object", "object", "nothing", "object"),
    ),
    "IsService & owner_or_staff": (
        IsService & owner_or_staff("user_id"),
        ("nothing", "nothing", "nothing", "nothing", "nothing", "nothing", "nothing", "object"),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_policy_table_holds(name: str) -> None:
    """Each permission lets in exactly whom the table says, for the view and for the object."""
    permission, expected = TABLE[name]
    assert dict(zip(ASKERS, expected, strict=True)) == {asker: ask(asker, permission) for asker in ASKERS}


def test_service_or_is_the_short_form() -> None:
    """ServiceOr(permission) is the same as IsService | permission."""
    assert ServiceOr(IsStaff) == IsService | IsStaff


def test_ids_are_compared_as_text() -> None:
    """A token holds ids as text, rows hold them as UUIDs or numbers."""
    owner_id = uuid.uuid4()
    assert ask(TokenUser(id=str(owner_id)), owner_or_staff("pk"), SimpleNamespace(pk=owner_id)) == "object"


@pytest.mark.parametrize("asker", ["owner", "other user", "anonymous"])
def test_what_nobody_owns_is_for_staff(asker: str) -> None:
    """An object without an owner belongs to no user, not even to one without an id."""
    ownerless = SimpleNamespace(user_id=None)
    assert ask(asker, owner_or_staff("user_id"), ownerless) != "object"
    assert ask(TokenUser(id="None"), owner_or_staff("user_id"), ownerless) == "view"
    assert ask("staff", owner_or_staff("user_id"), ownerless) == "object"


def test_an_object_policy_asked_alone_lets_no_stranger_in() -> None:
    """A view that checks only the object gives a stranger nothing, not even what a row with an odd owner holds."""
    request = Request(APIRequestFactory().get("/"))
    request.user = AnonymousUser()
    assert (
        owner_or_staff("user_id")().has_object_permission(request, APIView(), SimpleNamespace(user_id="None")) is False
    )


def test_a_wrong_attribute_is_an_error_also_for_staff() -> None:
    """A policy that looks at a field which does not exist fails loudly, whoever asks."""
    for asker in ("owner", "staff"):
        with pytest.raises(AttributeError):
            ask(asker, owner_or_staff("owner_id"))


def test_the_same_policy_is_the_same_class() -> None:
    """Factories return one class for the same arguments, so permissions can be compared."""
    assert owner_or_staff("user_id") is owner_or_staff("user_id")
    assert is_service("a") is is_service("a")


@pytest.mark.parametrize("permission", [IsService, IsStaff, is_service("a"), owner_or_staff("pk")])
def test_each_permission_has_an_object_policy(permission: Any) -> None:
    """None of them falls back to DRF's "everybody may have every object"."""
    assert permission.has_object_permission.__module__ == "bandstand.identity.permissions"


def test_a_request_that_never_met_the_middleware_is_no_service() -> None:
    """Without ServiceAuthMiddleware nobody is a service, whatever the request says."""
    request = Request(APIRequestFactory().get("/", HTTP_X_SERVICE="order-service", HTTP_SERVICE="order-service"))
    assert IsService().has_permission(request, APIView()) is False
