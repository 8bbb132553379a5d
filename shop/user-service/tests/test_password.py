"""Changing the password."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from users import sign_in
from users.models import TokenFamily, User

NEW = "another horse battery"

pytestmark = pytest.mark.django_db


def change(client: APIClient, user: User, old: str, new: str = NEW) -> Any:
    body = {"old_password": old, "new_password": new}
    return client.post(f"/api/v1/users/{user.pk}/change_password/", body)


def codes(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def test_the_password_changes(alice: User, signed_in: Callable[[User], APIClient], password: str) -> None:
    """The old password gives way to the new one, kept as an argon2 hash."""
    response = change(signed_in(alice), alice, password)
    assert response.status_code == 200, response.content
    assert sign_in.authenticate(alice.email, password) is None
    changed = sign_in.authenticate(alice.email, NEW)
    assert changed is not None
    assert changed.password.startswith("argon2$")


def test_every_other_sign_in_ends(alice: User, signed_in: Callable[[User], APIClient], password: str) -> None:
    """Access and refresh tokens from before are refused; whoever changed the password goes on with the new ones."""
    elsewhere = sign_in.sign_in(alice)
    assert elsewhere is not None
    client = signed_in(alice)
    response = change(client, alice, password)
    assert client.get(f"/api/v1/users/{alice.pk}/").status_code == 401
    assert sign_in.refresh(elsewhere.refresh) is None
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {response.json()['token']}")
    assert client.get(f"/api/v1/users/{alice.pk}/").status_code == 200
    assert sign_in.refresh(response.json()["refresh"]) is not None


def test_the_old_password_is_required(alice: User, signed_in: Callable[[User], APIClient]) -> None:
    """A token alone, from a screen that was left, changes no password."""
    client = signed_in(alice)
    assert codes(change(client, alice, "wrong")) == {"old_password": "wrong_password"}
    missing = client.post(f"/api/v1/users/{alice.pk}/change_password/", {"new_password": NEW})
    assert codes(missing) == {"old_password": "required"}
    assert TokenFamily.objects.active().count() == 1


@pytest.mark.parametrize(
    ("new", "code"),
    [("q8!zkw", "password_too_short"), ("password123", "password_too_common"), ("alice1234", "password_too_similar")],
)
def test_a_weak_one_is_refused(
    alice: User, signed_in: Callable[[User], APIClient], password: str, new: str, code: str
) -> None:
    """The new password is judged as at registration."""
    assert codes(change(signed_in(alice), alice, password, new)) == {"new_password": code}
    assert sign_in.authenticate(alice.email, password) is not None


def test_guessing_the_old_one_is_limited(alice: User, signed_in: Callable[[User], APIClient], password: str) -> None:
    """A stolen token can't be used to try passwords without end."""
    client = signed_in(alice)
    assert [change(client, alice, "wrong").status_code for _ in range(12)][-1] == 429
    assert change(client, alice, password).status_code == 429


def test_the_second_of_two_changes_is_refused(alice: User, password: str) -> None:
    """A change that was checked against a password which is gone by now changes nothing."""
    first, second = User.objects.get(pk=alice.pk), User.objects.get(pk=alice.pk)
    assert sign_in.change_password(first, NEW) is not None
    assert sign_in.change_password(second, "third horse battery") is None
    assert sign_in.authenticate(alice.email, NEW) is not None


def test_a_password_set_by_staff_ends_sign_ins_too(alice: User) -> None:
    """Wherever a password is set, in the admin or by changepassword, what was signed in is out."""
    tokens = sign_in.sign_in(alice)
    assert tokens is not None
    alice.set_password(NEW)
    alice.save()
    assert sign_in.refresh(tokens.refresh) is None


def test_a_stronger_hash_ends_no_sign_in(alice: User, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing the same password under a newer hash, as signing in does by itself, is no change of password."""
    from bandstand.identity.hashers import Argon2PasswordHasher

    tokens = sign_in.sign_in(alice)
    assert tokens is not None
    monkeypatch.setattr(Argon2PasswordHasher, "time_cost", 2)
    upgraded = sign_in.authenticate(alice.email, password)
    assert upgraded is not None
    assert upgraded.password != alice.password
    assert sign_in.refresh(tokens.refresh) is not None
