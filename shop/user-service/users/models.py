"""People, their profiles and their sign-ins."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.validators import URLValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from users import events
from users.validators import (
    validate_address,
    validate_birth_date,
    validate_line,
    validate_phone_number,
    validate_preferences,
)

validate_https = URLValidator(schemes=["https"])


def normalise_email(email: str) -> str:
    """Return the form in which an e-mail address is stored and looked up: nobody has two accounts by shift key."""
    return email.strip().lower()


class UserManager(BaseUserManager["User"]):
    """Makes users, and finds them by what they type."""

    def create_user(self, email: str, username: str, password: str | None = None, **fields: Any) -> User:
        """Save a new user with a profile, and announce it; without ``password`` nobody can sign in as this user."""
        user = self.model(email=normalise_email(email), username=username, **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, username: str, password: str | None = None, **fields: Any) -> User:
        """Save a new user who may do everything."""
        return self.create_user(email, username, password, **fields, is_staff=True, is_superuser=True)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user who signs in as ``username``, an e-mail address in any case."""
        return self.get(email=normalise_email(username or ""))

    def with_username(self, username: str) -> models.QuerySet[User]:
        """Return whoever has this username, in any case (at most one)."""
        return self.alias(folded=Lower("username")).filter(folded=username.lower())


class User(AbstractBaseUser, PermissionsMixin):
    """Somebody who can sign in. The id is random, so it tells nothing of when or after whom they came."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(
        "e-mail address",
        unique=True,
        validators=[validate_address],
        error_messages={"unique": "This address is registered."},
    )
    username = models.CharField(max_length=150, validators=[ASCIIUsernameValidator()])
    first_name = models.CharField(max_length=150, blank=True, validators=[validate_line])
    last_name = models.CharField(max_length=150, blank=True, validators=[validate_line])
    phone_number = models.CharField(max_length=16, blank=True, validators=[validate_phone_number])
    date_of_birth = models.DateField(null=True, blank=True, validators=[validate_birth_date])
    is_verified = models.BooleanField("e-mail verified", default=False)
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("staff", default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["username"]

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="users_user_email_lower"),
            models.UniqueConstraint(
                Lower("username"), name="users_user_username_unique", violation_error_message="This username is taken."
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at", "id"], name="users_user_newest")]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        self.email = normalise_email(self.email)
        self.username = self.normalize_username(self.username)

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save. A new user gets a profile and is announced; a new password or a closed account ends every sign-in.

        All of it holds however the user is saved: by the API, in the admin, by ``createsuperuser`` or
        ``changepassword``.
        """
        is_new, has_new_password = self._state.adding, self._password is not None
        with transaction.atomic():
            super().save(*args, **kwargs)
            if is_new:
                UserProfile.objects.create(user=self)
                events.announce_created(self)
            elif has_new_password or not self.is_active:
                TokenFamily.objects.of(self).revoke()


class UserProfile(models.Model):
    """What people tell about themselves."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="profile")
    bio = models.TextField(max_length=1000, blank=True)
    location = models.CharField(max_length=100, blank=True, validators=[validate_line])
    website = models.CharField(max_length=500, blank=True, validators=[validate_https])
    avatar = models.CharField(max_length=500, blank=True, validators=[validate_https])
    preferences = models.JSONField(default=dict, blank=True, validators=[validate_preferences])
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Profile of {self.user_id}"


class TokenFamilyQuerySet(models.QuerySet["TokenFamily"]):
    """Sign-ins, by whose they are and whether they still count."""

    def of(self, user: User) -> TokenFamilyQuerySet:
        """Return the sign-ins of ``user``."""
        return self.filter(user=user)

    def active(self) -> TokenFamilyQuerySet:
        """Return those that are neither revoked nor expired."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def revoke(self) -> int:
        """End them and return how many there were.

        Their access tokens are refused here from now on, and by other services once they have received the event.
        """
        with transaction.atomic():
            current = self.filter(revoked_at=None).order_by("pk").select_for_update(of=("self",))
            ended = dict(current.values_list("pk", "user_id"))
            for session_id, user_id in ended.items():
                events.announce_ended(session_id, user_id)
            return TokenFamily.objects.filter(pk__in=ended).update(revoked_at=timezone.now())


class TokenFamily(models.Model):
    """One sign-in: all refresh tokens that descend from it, of which only the newest may be used.

    The id travels in access tokens as ``sid``, so that revoking the family ends them in this service too.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="token_families")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar = TokenFamilyQuerySet.as_manager()

    class Meta:
        verbose_name = "sign-in"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"Sign-in {self.id}"

    @property
    def is_active(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class RefreshToken(models.Model):
    """A refresh token that was handed out, known by its digest alone; ``used_at`` is when it was exchanged."""

    digest = models.CharField(max_length=64, primary_key=True, editable=False)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="tokens")
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Refresh token {self.digest[:8]}…"
