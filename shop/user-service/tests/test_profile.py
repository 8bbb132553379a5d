"""What people tell about themselves."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

SignedIn = Callable[[User], APIClient]

PROFILE = {
    "bio": "Plays the viola.",
    "location": "Lyon",
    "website": "https://alice.example.com/",
    "avatar": "https://alice.example.com/me.png",
    "preferences": {"theme": "dark", "newsletter": False},
}


def put(client: APIClient, user: User, body: object) -> Any:
    return client.put(f"/api/v1/users/{user.pk}/profile/", body)


def test_a_profile_is_written_and_read(alice: User, signed_in: SignedIn) -> None:
    """What was put is what is read."""
    client = signed_in(alice)
    assert put(client, alice, PROFILE).status_code == 200
    profile = client.get(f"/api/v1/users/{alice.pk}/profile/").json()
    assert {name: profile[name] for name in PROFILE} == PROFILE


def test_what_is_left_out_stays(alice: User, signed_in: SignedIn) -> None:
    """A field that the body does not name keeps its value, so that an old client wipes nothing."""
    client = signed_in(alice)
    put(client, alice, PROFILE)
    assert put(client, alice, {"bio": ""}).json()["location"] == "Lyon"


def test_a_profile_cannot_change_hands(alice: User, bob: User, signed_in: SignedIn) -> None:
    """A body that names another user changes nobody's profile but the own."""
    assert put(signed_in(alice), alice, {"user": str(bob.pk), "user_id": str(bob.pk), "bio": "mine"}).status_code == 200
    alice.profile.refresh_from_db()
    bob.profile.refresh_from_db()
    assert (alice.profile.bio, bob.profile.bio) == ("mine", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("website", "http://alice.example.com/"),
        ("website", "javascript:alert(1)"),
        ("website", "https://" + "x" * 600 + ".example.com/"),
        ("avatar", "data:image/png;base64,AAAA"),
        ("avatar", "https:///no-host"),
        ("bio", "x" * 1001),
        ("location", "x" * 101),
        ("preferences", []),
        ("preferences", "dark"),
        ("preferences", None),
        ("preferences", {"much": "x" * 4096}),
        ("preferences", {"nothing": "\x00"}),
    ],
)
def test_what_a_profile_cannot_be(alice: User, signed_in: SignedIn, field: str, value: object) -> None:
    """Links are https, texts and preferences have their limits, and what PostgreSQL can't store is refused before."""
    response = put(signed_in(alice), alice, {field: value})
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
