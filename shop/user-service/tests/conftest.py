"""What the tests of the user service share."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from bandstand.identity.hashers import Argon2PasswordHasher
from rest_framework.test import APIClient

from users import sign_in
from users.models import User

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 with the least work that it allows, so that the tests are not about waiting."""
    monkeypatch.setattr(Argon2PasswordHasher, "time_cost", 1)
    monkeypatch.setattr(Argon2PasswordHasher, "memory_cost", 8)
    monkeypatch.setattr(Argon2PasswordHasher, "parallelism", 1)


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """Return a function that saves a user; everything can be given, nothing must."""
    numbers = count(1)

    def make(**fields: Any) -> User:
        number = next(numbers)
        return User.objects.create_user(
            **{"email": f"user{number}@example.com", "username": f"user{number}", "password": PASSWORD, **fields}
        )

    return make


@pytest.fixture
def alice(make_user: Callable[..., User]) -> User:
    return make_user(email="alice@example.com", username="alice", first_name="Alice")


@pytest.fixture
def bob(make_user: Callable[..., User]) -> User:
    return make_user(email="bob@example.com", username="bob")


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user(email="staff@example.com", username="staff", is_staff=True)


@pytest.fixture
def signed_in() -> Callable[[User], APIClient]:
    """Return a function that returns a client with the access token of a new sign-in."""

    def client_of(user: User) -> APIClient:
        tokens = sign_in.sign_in(user)
        assert tokens is not None
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.access}")
        client.default_format = "json"
        return client

    return client_of
