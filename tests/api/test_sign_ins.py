"""Tests of the permission that refuses tokens of sign-ins which have ended."""

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from bandstand.api import EndedSignIn, SignInIsCurrent, end_sign_in
from bandstand.api.sign_ins import purge_ended_sign_ins
from bandstand.identity import UserClaims
from bandstand.identity.user_tokens import USER_TOKEN

pytestmark = pytest.mark.django_db


def request_with(**extra: Any) -> Request:
    request = Request(APIRequestFactory().post("/"))
    request.auth = UserClaims(
        iss="user-service",
        aud="shop",
        sub="u-1",
        staff=False,
        iat=1,
        exp=2,
        jti="a" * 32,
        extra=MappingProxyType(extra),
    )
    return request


def is_let_in(request: Request) -> bool:
    try:
        return SignInIsCurrent().has_permission(request, APIView())
    except AuthenticationFailed as error:
        return error.get_codes() != "signed_out"


def test_an_ended_sign_in_is_over_and_no_other() -> None:
    """The tokens of an ended sign-in are refused; those of other sign-ins still work."""
    assert is_let_in(request_with(sid="s-1"))
    end_sign_in("s-1")
    end_sign_in("s-1")
    assert not is_let_in(request_with(sid="s-1"))
    assert is_let_in(request_with(sid="s-2"))
    assert is_let_in(request_with(sid="S-1"))


@pytest.mark.parametrize("extra", [{}, {"sid": None}, {"sid": 5}, {"sid": ["s-1"]}])
def test_a_token_that_can_not_be_ended_is_refused(extra: dict[str, Any]) -> None:
    """A token without the claim ``sid`` is refused, since its sign-in could not be ended."""
    assert not is_let_in(request_with(**extra))


def test_who_has_no_token_is_not_let_in() -> None:
    """A request without a user token is not permitted."""
    assert not is_let_in(Request(APIRequestFactory().post("/")))


def test_it_costs_one_look_up() -> None:
    """The permission costs one query, by primary key."""
    with CaptureQueriesContext(connection) as queries:
        is_let_in(request_with(sid="s-1"))
    assert len(queries) == 1


def test_rows_go_once_their_tokens_are_over() -> None:
    """Rows are deleted after the longest lifetime of a token, at most 100 at a time."""
    longest = timedelta(seconds=USER_TOKEN.max_lifetime)
    end_sign_in("s-1")
    EndedSignIn.objects.update(ended_at=timezone.now() - longest)
    end_sign_in("s-2")
    assert EndedSignIn.objects.count() == 2
    EndedSignIn.objects.filter(sid="s-1").update(ended_at=timezone.now() - longest - timedelta(hours=2))
    end_sign_in("s-3")
    assert sorted(EndedSignIn.objects.values_list("sid", flat=True)) == ["s-2", "s-3"]
    over = timezone.now() - timedelta(days=2)
    EndedSignIn.objects.bulk_create(EndedSignIn(sid=f"old-{n}", ended_at=over) for n in range(150))
    assert [purge_ended_sign_ins() for _ in range(3)] == [100, 50, 0]
