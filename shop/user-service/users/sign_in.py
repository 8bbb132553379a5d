"""Signing in and staying signed in: passwords for tokens, refresh tokens for newer ones.

Refresh tokens rotate, as RFC 9700 section 4.14.2 asks of clients that can't keep a secret: each may be exchanged once,
and one that comes back a second time ends the whole sign-in, because either the client or a thief holds a stolen copy.
The table knows digests only; the tokens are 256 random bits, so a digest needs neither salt nor stretching.
"""

import hashlib
import logging
import secrets
from typing import NamedTuple

from bandstand.identity import issue_user_token
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from users.models import RefreshToken, TokenFamily, User, normalise_email

logger = logging.getLogger(__name__)


class Tokens(NamedTuple):
    """What a client holds after signing in: an access token for some minutes, a refresh token for its successor."""

    access: str
    refresh: str
    user: User


def authenticate(email: str, password: str) -> User | None:
    """Return the active user with this e-mail address and password, else ``None``, after about the same time."""
    user = User.objects.filter(email=normalise_email(email)).first()
    if user is None:
        make_password(password)  # an unknown address takes as long as a wrong password
        return None
    return user if user.check_password(password) and user.is_active else None


def sign_in(user: User) -> Tokens | None:
    """Begin a sign-in of ``user``, whose password was just checked; ``None`` if it has changed meanwhile.

    The conditional update takes the user's row lock: a change of password either comes first, and nothing is begun,
    or waits, and then finds this sign-in among those that it ends.
    """
    now = timezone.now()
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, password=user.password, is_active=True).update(last_login=now):
            return None
        families = TokenFamily.objects.of(user)
        families.filter(expires_at__lt=now).delete()
        return _hand_out(TokenFamily.objects.create(user=user, expires_at=now + settings.REFRESH_TOKEN_LIFETIME))


def change_password(user: User, new_password: str) -> Tokens | None:
    """End every sign-in of ``user``, whose old password was just checked, and begin a new one with a new password.

    Returns ``None``, with nothing changed, if the old password was changed meanwhile.
    """
    with transaction.atomic():
        current = User.objects.select_for_update().filter(pk=user.pk, password=user.password, is_active=True).first()
        if current is None:
            return None
        current.set_password(new_password)
        current.save(update_fields=["password", "updated_at"])
        return sign_in(current)


def refresh(token: str) -> Tokens | None:
    """Exchange a refresh token for new tokens; ``None`` if it is unknown, used, expired or revoked."""
    digest = _digest(token)
    with transaction.atomic():
        family = _locked_family(digest)
        if family is None or not family.is_active or not family.user.is_active:
            return None
        if RefreshToken.objects.filter(digest=digest, used_at=None).update(used_at=timezone.now()):
            return _hand_out(family)
        TokenFamily.objects.filter(pk=family.pk).revoke()
    logger.warning("A used refresh token came back; its sign-in was ended", extra={"family": str(family.pk)})
    return None


def revoke(token: str) -> None:
    """End the sign-in that a refresh token belongs to; an unknown token is no error (RFC 7009 section 2.2)."""
    with transaction.atomic():
        family = _locked_family(_digest(token))
        if family is not None:
            TokenFamily.objects.filter(pk=family.pk).revoke()


def _locked_family(digest: str) -> TokenFamily | None:
    # One lock for the whole family: an exchange sees all that another, or signing out, did before it.
    families = TokenFamily.objects.select_for_update(of=("self",)).select_related("user")
    return families.filter(tokens__digest=digest).first()


def _hand_out(family: TokenFamily) -> Tokens:
    token = secrets.token_urlsafe(32)
    RefreshToken.objects.create(digest=_digest(token), family=family)
    user = family.user
    access = issue_user_token(str(user.pk), staff=user.is_staff, email=user.email, sid=str(family.pk))
    return Tokens(access=access, refresh=token, user=user)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
