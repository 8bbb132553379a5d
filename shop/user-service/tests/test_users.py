"""Reading, listing and changing users."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from bandstand.testing.races import run_at_once
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from users.models import User, UserProfile

pytestmark = pytest.mark.django_db

SignedIn = Callable[[User], APIClient]


def test_users_read_themselves(
    alice: User, signed_in: SignedIn, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """A user reads the own data; it costs one query for who asks and one for the answer."""
    client = signed_in(alice)
    with django_assert_num_queries(2):
        response = client.get(f"/api/v1/users/{alice.pk}/")
    assert response.status_code == 200
    assert response.json()["email"] == "alice@example.com"
    assert "password" not in response.json()


def test_whether_another_exists_is_not_told(alice: User, bob: User, signed_in: SignedIn) -> None:
    """The id of another user and an id of nobody get the same answer, for each method."""
    client = signed_in(alice)
    for method in ("get", "put", "patch"):
        answers = [getattr(client, method)(f"/api/v1/users/{pk}/", {}) for pk in (bob.pk, uuid4())]
        assert [answer.status_code for answer in answers] == [403, 403]
        details = [answer.json()["detail"] for answer in answers]
        assert details[0] == details[1]


def test_staff_is_told_that_nobody_has_the_id(staff: User, signed_in: SignedIn) -> None:
    """For staff, who may read everybody, an id of nobody is not found."""
    client = signed_in(staff)
    assert client.get(f"/api/v1/users/{uuid4()}/").status_code == 404
    assert client.get(f"/api/v1/users/{uuid4()}/profile/").status_code == 404
    assert client.get("/api/v1/users/not-an-id/").status_code == 404


def test_a_service_reads_a_user(alice: User, as_service: Callable[[str], APIClient]) -> None:
    """A service on the list of callers reads who a user is, without any user's token."""
    order_service = as_service("order-service")
    response = order_service.get(f"/api/v1/users/{alice.pk}/")
    assert response.status_code == 200, response.content
    assert response.json()["email"] == "alice@example.com"
    assert response.json()["is_active"] is True
    assert order_service.get(f"/api/v1/users/{uuid4()}/").status_code == 404


def test_users_change_themselves(alice: User, signed_in: SignedIn) -> None:
    """PATCH changes what it names and nothing else."""
    response = signed_in(alice).patch(f"/api/v1/users/{alice.pk}/", {"last_name": "Moreau"})
    assert response.status_code == 200, response.content
    alice.refresh_from_db()
    assert (alice.first_name, alice.last_name) == ("Alice", "Moreau")


def test_put_needs_what_every_user_has(alice: User, signed_in: SignedIn) -> None:
    """PUT without a username is refused; with one it changes the user."""
    client = signed_in(alice)
    assert client.put(f"/api/v1/users/{alice.pk}/", {"first_name": "A"}).status_code == 400
    body = {"username": "alice2", "date_of_birth": None, "phone_number": ""}
    assert client.put(f"/api/v1/users/{alice.pk}/", body).json()["username"] == "alice2"


def test_the_own_username_is_not_taken(alice: User, bob: User, signed_in: SignedIn) -> None:
    """A user may write the own username in another case, but never another's."""
    client = signed_in(alice)
    assert client.patch(f"/api/v1/users/{alice.pk}/", {"username": "Alice"}).status_code == 200
    refused = client.patch(f"/api/v1/users/{alice.pk}/", {"username": "BOB"})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "username"


ALLOWED = {"username", "first_name", "last_name", "phone_number", "date_of_birth"}
GRANTS = {
    "id": "00000000-0000-4000-8000-000000000000",
    "email": "other@example.com",
    "password": "another horse battery",
    "is_staff": True,
    "is_superuser": True,
    "is_verified": True,
    "is_active": False,
    "created_at": "2001-01-01T00:00:00Z",
    "updated_at": "2001-01-01T00:00:00Z",
    "last_login": "2001-01-01T00:00:00Z",
    "groups": [1],
    "user_permissions": [1],
    "token_families": [],
    "profile": {"bio": "x"},
}


def columns(user: User) -> dict[str, Any]:
    row = User.objects.filter(pk=user.pk).values().get()
    return {name: value for name, value in row.items() if name not in {"username", "updated_at"}}


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize("field", sorted(({field.name for field in User._meta.get_fields()} | set(GRANTS)) - ALLOWED))
def test_nobody_grants_themselves_anything(alice: User, signed_in: SignedIn, method: str, field: str) -> None:
    """Whatever field of the model a body names beside the few that users may change, it changes nothing."""
    before = columns(alice)
    body = {"username": "alice", field: GRANTS.get(field, 1)}
    response = getattr(signed_in(alice), method)(f"/api/v1/users/{alice.pk}/", body)
    assert response.status_code == 200, response.content
    after = columns(alice)
    assert {**after, "last_login": None} == {**before, "last_login": None}
    assert UserProfile.objects.get(user=alice).bio == ""


@pytest.mark.parametrize("field", sorted(set(GRANTS) - {"email", "password"}))
def test_nobody_registers_with_rights(api_client: APIClient, field: str) -> None:
    """A registration gives an unprivileged, unverified, active user with an id of ours, whatever the body says."""
    body = {"email": "new@example.com", "username": "new", "password": "correct horse battery", field: GRANTS[field]}
    assert api_client.post("/api/v1/users/", body).status_code == 201
    user = User.objects.get()
    assert str(user.pk) != GRANTS["id"]
    assert (user.is_staff, user.is_superuser, user.is_verified, user.is_active) == (False, False, False, True)
    assert user.created_at.year > 2001
    assert user.profile.bio == ""


@pytest.mark.django_db(transaction=True)
def test_changes_at_the_same_time_lose_nothing(alice: User, signed_in: SignedIn) -> None:
    """Two requests that change different fields of one user at the same moment both count."""
    client = signed_in(alice)
    for attempt in range(5):
        changes = {"first_name": f"A{attempt}", "last_name": f"M{attempt}", "phone_number": f"+4930123456{attempt}"}
        bodies = [{field: value} for field, value in changes.items()]
        run_at_once(3, lambda turn, bodies=bodies: client.patch(f"/api/v1/users/{alice.pk}/", bodies[turn]))
        assert User.objects.filter(pk=alice.pk, **changes).exists()


def test_a_change_writes_only_what_it_names(alice: User, signed_in: SignedIn) -> None:
    """What another request wrote between our read and our write stays."""
    stale = User.objects.get(pk=alice.pk)
    User.objects.filter(pk=alice.pk).update(first_name="Written meanwhile")
    from users.serializers import UserSerializer

    serializer = UserSerializer(stale, data={"last_name": "Moreau"}, partial=True)
    serializer.is_valid(raise_exception=True)
    serializer.save()
    alice.refresh_from_db()
    assert (alice.first_name, alice.last_name) == ("Written meanwhile", "Moreau")


def test_the_list_is_paged_newest_first(
    make_user: Callable[..., User], staff: User, signed_in: SignedIn, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Staff lists users 20 a page, newest first, with three queries however many there are."""
    users = [make_user() for _ in range(25)]
    client = signed_in(staff)
    with django_assert_num_queries(3):
        page = client.get("/api/v1/users/").json()
    assert page["count"] == 26
    assert [user["id"] for user in page["results"]] == [str(user.pk) for user in reversed(users)][:20]
    assert page["previous"] is None
    following = client.get(page["next"]).json()
    assert len(following["results"]) == 6
    assert following["next"] is None
    assert client.get("/api/v1/users/?page=99").status_code == 404


def test_staff_searches_and_orders(alice: User, bob: User, staff: User, signed_in: SignedIn) -> None:
    """The list can be searched by address and name, and ordered."""
    client = signed_in(staff)
    found = client.get("/api/v1/users/?search=ALICE").json()["results"]
    assert [user["username"] for user in found] == ["alice"]
    ordered = client.get("/api/v1/users/?ordering=email").json()["results"]
    assert [user["username"] for user in ordered] == ["alice", "bob", "staff"]
    assert client.get("/api/v1/users/?ordering=password").status_code == 200
