from typing import Any

import pytest
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView, exception_handler

from bandstand.context import RequestTrackingMiddleware, bind, current, new_context
from bandstand.identity import TokenUser, UserClaims, UserTokenAuthentication, set_key_fetcher
from tests.identity.conftest import World


class Named(UserTokenAuthentication):
    """Knows one user by name, and that another may not come in any more."""

    def get_user(self, claims: UserClaims) -> Any:
        if claims.sub == "gone":
            raise AuthenticationFailed("Signed out.", code="signed_out")
        return TokenUser(id=f"named-{claims.sub}")


class View(APIView):
    authentication_classes = (UserTokenAuthentication,)
    permission_classes = (IsAuthenticated,)
    renderer_classes = (JSONRenderer,)

    def get_exception_handler(self) -> Any:
        return exception_handler  # DRF's own: what the API room makes of it is tested there

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "auth": request.auth.sub, "context": current().user})


class NamedView(View):
    authentication_classes = (Named,)


def get(authorization: str | None, view: type[APIView] = View) -> Any:
    headers = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    with bind(new_context()):
        return view.as_view()(APIRequestFactory().get("/", **headers))


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_a_bearer_token_signs_in(configured: World, scheme: str) -> None:
    """The user of the token is the request's user, and the context's for calls, events and logs."""
    response = get(scheme + configured.user_token())
    assert response.data == {"user": "u-1", "auth": "u-1", "context": "u-1"}


@pytest.mark.parametrize("header", [None, "", "Basic dTpw", "Token abc", "Bearerabc", "ServiceToken x"])
def test_without_a_bearer_token_nobody_is_signed_in(configured: World, header: str | None) -> None:
    """Other schemes are left to other authentication; where a user is needed the answer is 401 with a challenge."""
    response = get(header)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert response.data["detail"].code == "not_authenticated"


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer x", "Bearer x.y.z", "Bearer a b", "Bearer é.é.é"])
def test_an_invalid_token_is_answered_401(configured: World, header: str) -> None:
    """A bearer token that is not valid is never taken for none."""
    response = get(header)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert response.data["detail"].code == "invalid_token"


def test_an_invalid_token_is_refused_also_where_anybody_may_ask(configured: World) -> None:
    """A client with an expired token learns so, instead of being served as a stranger."""

    class Public(View):
        permission_classes = ()

    assert get("Bearer x.y.z", Public).status_code == 401


def test_without_keys_the_answer_is_try_again(world: World, settings: Any) -> None:
    """While no key set could be had a token is not called invalid: 503 with Retry-After, so nobody is signed out."""

    def fetch(url: str) -> bytes:
        raise OSError("down")

    settings.BANDSTAND = world.setting(USER_JWKS_URL="http://user-service/.well-known/jwks.json")
    set_key_fetcher(fetch)
    response = get(f"Bearer {world.user_token()}")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "down" not in str(response.data)


def test_a_service_may_look_its_users_up(configured: World) -> None:
    """get_user() is where a service loads its own row, or refuses a user who signed out."""
    assert get(f"Bearer {configured.user_token()}", NamedView).data["user"] == "named-u-1"
    response = get(f"Bearer {configured.user_token(sub='gone')}", NamedView)
    assert (response.status_code, response.data["detail"].code) == (401, "signed_out")


def test_a_refused_user_is_not_in_the_context(configured: World) -> None:
    """The context names a user only once the service agreed that it is one."""
    with bind(new_context()):
        request = Request(
            APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {configured.user_token(sub='gone')}")
        )
        with pytest.raises(AuthenticationFailed):
            Named().authenticate(request)
        assert current().user is None


def test_the_user_ends_with_the_request(configured: World) -> None:
    """Behind RequestTrackingMiddleware no user is left in the context after the request."""

    def handler(request: HttpRequest) -> Any:
        response = View.as_view()(request)
        response.render()
        return response

    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {configured.user_token()}")
    assert b'"context":"u-1"' in RequestTrackingMiddleware(handler)(request).content
    assert current().user is None


class TestTokenUser:
    """The user as a token describes one."""

    def test_it_is_what_django_and_drf_ask_for(self) -> None:
        """The names that permissions, throttles and logs read are there."""
        user = TokenUser(id="u-1", is_staff=False, email="ann@example.com")
        assert (user.pk, user.id, str(user), user.get_username()) == ("u-1", "u-1", "u-1", "u-1")
        assert user.is_authenticated
        assert user.is_active
        assert not user.is_anonymous
        assert not user.is_superuser

    @pytest.mark.parametrize("staff", [True, False])
    def test_permissions_are_those_of_staff(self, staff: bool) -> None:
        """Without rows for permissions staff have all and others none."""
        user = TokenUser(id="u-1", is_staff=staff)
        assert user.has_perm("shop.add_product") is staff
        assert user.has_perms(["shop.add_product"]) is staff
        assert user.has_module_perms("shop") is staff

    def test_it_is_a_value(self) -> None:
        """Users are equal by id, may be keys of a dictionary, and can't be changed."""
        user = TokenUser(id="u-1", is_staff=True)
        assert {user: 1}[TokenUser(id="u-1")] == 1
        assert user != TokenUser(id="u-2", is_staff=True)
        with pytest.raises(AttributeError):
            user.is_staff = False  # type: ignore[misc]
