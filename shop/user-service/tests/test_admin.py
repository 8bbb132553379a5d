"""What staff does in the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from users import sign_in
from users.models import TokenFamily, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(make_user: Callable[..., User], client: Client) -> Client:
    client.force_login(make_user(email="root@example.com", username="root", is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize("path", ["", "users/user/", "users/user/add/", "users/user/?q=a", "users/tokenfamily/?q=a"])
def test_the_pages_open(admin: Client, alice: User, path: str) -> None:
    """Each page of the admin answers."""
    sign_in.sign_in(alice)
    assert admin.get(f"/admin/{path}").status_code == 200


def test_a_user_is_added_as_everywhere(admin: Client, published_events: Callable[..., list[Any]]) -> None:
    """A user who is added by staff has a profile and is announced."""
    password = {"usable_password": "true", "password1": "correct horse battery", "password2": "correct horse battery"}
    response = admin.post("/admin/users/user/add/", {"email": "New@Example.com", "username": "new", **password})
    assert response.status_code == 302, response.content
    user = User.objects.get(email="new@example.com")
    assert user.profile.bio == ""
    assert published_events("user.created")[-1].key == str(user.pk)


def test_a_user_is_changed(admin: Client, alice: User) -> None:
    """The page of a user opens, shows no hash, and saves."""
    page = admin.get(f"/admin/users/user/{alice.pk}/change/")
    assert page.status_code == 200
    assert alice.password not in page.content.decode()
    body = {
        "email": alice.email, "username": alice.username, "first_name": "Changed", "is_active": "on",
        "profile-TOTAL_FORMS": "1", "profile-INITIAL_FORMS": "1", "profile-0-user": str(alice.pk),
        "profile-0-bio": "By staff", "profile-0-preferences": "{}",
    }  # fmt: skip
    response = admin.post(f"/admin/users/user/{alice.pk}/change/", body)
    assert response.status_code == 302, response.content
    alice.refresh_from_db()
    assert (alice.first_name, alice.profile.bio) == ("Changed", "By staff")


def test_sign_ins_are_ended(admin: Client, alice: User) -> None:
    """Staff ends sign-ins by an action."""
    sign_in.sign_in(alice)
    chosen = [str(pk) for pk in TokenFamily.objects.values_list("pk", flat=True)]
    admin.post("/admin/users/tokenfamily/", {"action": "end", "_selected_action": chosen})
    assert not TokenFamily.objects.active().exists()


def test_the_admin_knows_the_address_in_any_case(client: Client, make_user: Callable[..., User], password: str) -> None:
    """Signing in to the admin takes the e-mail address, in any case."""
    make_user(email="root@example.com", is_staff=True)
    assert client.login(username="ROOT@example.com", password=password)


def test_tries_to_sign_in_are_counted_with_those_at_the_api(client: Client, make_user: Callable[..., User]) -> None:
    """Tries at the API and in the admin count together: ten for an account."""
    make_user(email="root@example.com", username="root", is_staff=True)
    for _ in range(5):
        client.post(
            "/api/v1/users/authenticate/", {"email": "root@example.com", "password": "wrong"}, "application/json"
        )
    form = {"username": "root@example.com", "password": "wrong"}
    assert [client.post("/admin/login/", form).status_code for _ in range(6)] == [200] * 5 + [429]
