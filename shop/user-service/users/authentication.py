"""Who is asking, looked up at each request: the user service alone knows what became of a user since the token."""

from uuid import UUID

from bandstand.identity import UserClaims, UserTokenAuthentication
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from users.models import TokenFamily, User


class CurrentUserAuthentication(UserTokenAuthentication):
    """Refuses the tokens of users who were deactivated and of sign-ins that were ended, at once.

    Other services believe a token until it expires, after some minutes; here it gives power over the account itself.
    """

    def get_user(self, claims: UserClaims) -> User:
        """Return the user whose sign-in the token belongs to.

        Raises:
            AuthenticationFailed: the user is not active, or the sign-in has ended.
        """
        family = _family(claims)
        if family is None:
            raise AuthenticationFailed("This sign-in has ended. Sign in again.", code="signed_out")
        return family.user


class NoToken(BaseAuthentication):
    """Looks at no token, so that somebody whose token has expired can sign in; refusals stay 401."""

    def authenticate(self, request: Request) -> None:
        return None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _family(claims: UserClaims) -> TokenFamily | None:
    try:
        user_id, family_id = UUID(claims.sub), UUID(claims.extra["sid"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # a token of this platform that was not made by a sign-in
    families = TokenFamily.objects.active().filter(user_id=user_id, user__is_active=True)
    return families.filter(pk=family_id).select_related("user").first()
