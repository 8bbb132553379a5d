"""Who is asking: services and users, each by a signed token that is verified without asking anybody.

- ``service_token(audience)`` signs for one callee; ``ServiceAuthMiddleware`` verifies ``X-Service-Token``, compares the
  caller with the list of callers, and sets ``request.service``; ``verify_service_token(token)`` does the first alone.
  ``ServiceTokens`` signs as any service whose key one has.
- ``issue_user_token(user_id, staff=…)`` signs for a user; ``verify_user_token(token)`` returns ``UserClaims``;
  ``jwks()`` and ``jwks_view`` publish the keys; ``set_key_fetcher(fetch)`` says how others fetch them.
- ``UserTokenAuthentication`` makes a ``TokenUser`` of ``Authorization: Bearer …`` in DRF.
- Permissions: ``IsService``, ``is_service(name)``, ``IsStaff``, ``owner_or_staff(attribute)``; they combine with ``|``,
  and ``ServiceOr(permission)`` is ``IsService | permission``.
- ``generate_key(service)`` makes a ``PrivateKey``, whose ``public`` half is a ``PublicKey``; ``key_set(keys)`` is a
  JWKS of such. ``load_keys()`` reads every key file that the settings name, or says what is wrong with them;
  ``prefetch_user_keys()`` fetches what others publish before a request needs it.
- ``"bandstand.identity.hashers.Argon2PasswordHasher"`` in ``PASSWORD_HASHERS`` keeps passwords.
"""

from bandstand.identity.authentication import UserTokenAuthentication
from bandstand.identity.keyring import load_keys
from bandstand.identity.keys import PrivateKey, PublicKey, generate_key, key_set
from bandstand.identity.middleware import ServiceAuthMiddleware
from bandstand.identity.permissions import IsService, IsStaff, ServiceOr, is_service, owner_or_staff
from bandstand.identity.service_tokens import ServiceTokens, service_token, verify_service_token
from bandstand.identity.user_keys import prefetch_user_keys, set_key_fetcher
from bandstand.identity.user_tokens import UserClaims, issue_user_token, jwks, jwks_view, verify_user_token
from bandstand.identity.users import TokenUser

__all__ = [
    "IsService",
    "IsStaff",
    "PrivateKey",
    "PublicKey",
    "ServiceAuthMiddleware",
    "ServiceOr",
    "ServiceTokens",
    "TokenUser",
    "UserClaims",
    "UserTokenAuthentication",
    "generate_key",
    "is_service",
    "issue_user_token",
    "jwks",
    "jwks_view",
    "key_set",
    "load_keys",
    "owner_or_staff",
    "prefetch_user_keys",
    "service_token",
    "set_key_fetcher",
    "verify_service_token",
    "verify_user_token",
]
