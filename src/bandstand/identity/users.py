"""The user as a token describes one, where there is no row to load."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from bandstand.identity.user_tokens import UserClaims

__all__ = ["TokenUser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUser:
    """Stands where Django and DRF expect a user; two with the same id are equal.

    Staff have every permission, as far as a service without users can know; others have none.
    """

    id: str
    is_staff: bool = field(default=False, compare=False)
    email: str | None = field(default=None, compare=False)

    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True
    is_superuser: ClassVar[bool] = False

    @classmethod
    def from_claims(cls, claims: UserClaims) -> "TokenUser":
        """Return the user that a verified token speaks of."""
        return cls(id=claims.sub, is_staff=claims.staff, email=claims.email)

    @property
    def pk(self) -> str:
        """The id, under the name that Django gives a primary key."""
        return self.id

    def __str__(self) -> str:
        return self.id

    def get_username(self) -> str:
        """Return the id: the token holds no name to sign in with."""
        return self.id

    def has_perm(self, perm: str, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Say whether the user is staff."""
        return self.is_staff

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Say whether the user is staff."""
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002 - Django's signature
        """Say whether the user is staff."""
        return self.is_staff
