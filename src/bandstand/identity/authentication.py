"""User tokens as DRF authentication."""

import re
from typing import Any, Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from bandstand.context import update
from bandstand.exceptions import InvalidToken, KeySetUnavailable
from bandstand.identity.user_tokens import UserClaims, verify_user_token
from bandstand.identity.users import TokenUser

__all__ = ["KeysNotYetKnown", "UserTokenAuthentication"]

_SCHEME: Final = re.compile(r"bearer(?: +|$)", re.IGNORECASE)


class KeysNotYetKnown(APIException):
    """This process has not had the keys of user tokens yet, so it can't say whether a token is good."""

    status_code = 503
    default_code = "key_set_unavailable"
    default_detail = "Tokens can't be verified right now. Try again in a moment."
    wait = 1  # seconds; DRF says it in Retry-After


class UserTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <user token>``; ``request.user`` is a TokenUser and ``request.auth`` its claims.

    A service that has rows for its users overrides :meth:`get_user`.
    """

    def authenticate(self, request: Request) -> tuple[Any, UserClaims] | None:
        """Return the user and the claims; None when the request brings no bearer token.

        Raises:
            AuthenticationFailed: the token is not valid (401).
            KeysNotYetKnown: nobody can say (503).
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme = _SCHEME.match(header)
        if scheme is None:
            return None
        try:
            claims = verify_user_token(header[scheme.end() :])
        except InvalidToken:
            raise AuthenticationFailed("The token is not valid. Sign in again.", code=InvalidToken.code) from None
        except KeySetUnavailable:
            raise KeysNotYetKnown from None
        user = self.get_user(claims)
        update(user=claims.sub)
        return user, claims

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's signature
        """Return the challenge that goes with a 401."""
        return "Bearer"

    def get_user(self, claims: UserClaims) -> Any:
        """Return the user of a verified token.

        An override raises AuthenticationFailed for a user who may not come in any more.
        """
        return TokenUser.from_claims(claims)
