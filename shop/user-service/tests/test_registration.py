"""Becoming a user."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bandstand.testing.races import run_at_once
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from users.models import User
from users.serializers import RegistrationSerializer

NEW = {"email": "New.Person@Example.com", "username": "newcomer", "password": "correct horse battery"}

pytestmark = pytest.mark.django_db


def register(client: APIClient, **changes: Any) -> Any:
    body = {name: value for name, value in {**NEW, **changes}.items() if value is not None}
    return client.post("/api/v1/users/", body)


def faults(response: Any) -> dict[str, str]:
    """Return the code of the first fault of each field."""
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in reversed(response.json()["errors"])}


def test_a_user_is_made(api_client: APIClient) -> None:
    """Registering answers 201 with the user, without the password in any form."""
    response = register(
        api_client, first_name="New", last_name="Person", phone_number="+49 30 1234567", date_of_birth="1990-02-28"
    )
    assert response.status_code == 201, response.content
    user = User.objects.get()
    body = response.json()
    assert body == {
        "id": str(user.pk),
        "email": "new.person@example.com",
        "username": "newcomer",
        "first_name": "New",
        "last_name": "Person",
        "phone_number": "+49301234567",
        "date_of_birth": "1990-02-28",
        "is_verified": False,
        "is_active": True,
        "is_staff": False,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
    assert user.check_password(NEW["password"])
    assert user.password.startswith("argon2$")


def test_the_profile_comes_with_the_user(api_client: APIClient) -> None:
    """A new user has an empty profile."""
    register(api_client)
    profile = User.objects.get().profile
    assert (profile.bio, profile.preferences) == ("", {})


def test_the_new_user_is_announced(api_client: APIClient, published_events: Callable[..., list[Any]]) -> None:
    """Registering publishes one user.created, which says whom to welcome and holds no secret."""
    register(api_client, first_name="New")
    user = User.objects.get()
    [event] = published_events()
    assert (event.type, event.version, event.key) == ("user.created", 1, str(user.pk))
    assert event.data == {"user_id": str(user.pk), "email": user.email, "username": "newcomer", "first_name": "New"}


def test_a_rolled_back_user_is_not_announced(published_events: Callable[..., list[Any]]) -> None:
    """The announcement shares the fate of the transaction that saves the user."""
    with transaction.atomic():
        User.objects.create_user("ghost@example.com", "ghost")
        transaction.set_rollback(True)
    assert published_events() == []


@pytest.mark.parametrize("email", ["alice@example.com", "ALICE@EXAMPLE.COM", " Alice@Example.com "])
def test_an_address_is_registered_once(api_client: APIClient, alice: User, email: str) -> None:
    """An e-mail address that is taken, in whatever case, is a fault of that field."""
    assert faults(register(api_client, email=email)) == {"email": "unique"}
    assert User.objects.count() == 1


@pytest.mark.parametrize("email", ['"a b"@example.com', '"a@b"@example.com'])
def test_an_address_is_one_that_the_event_can_promise(api_client: APIClient, email: str) -> None:
    """What Django takes for an address, but no reader of user.created would, is a fault of the field, not an error."""
    assert faults(register(api_client, email=email)) == {"email": "invalid"}


def test_a_username_is_taken_in_any_case(api_client: APIClient, alice: User) -> None:
    """Nobody can pass for another by the case of a letter."""
    assert faults(register(api_client, username="ALICE")) == {"username": "unique"}


def test_all_faults_are_told_at_once(api_client: APIClient) -> None:
    """Each field that is wrong is named, with a code for machines."""
    response = register(api_client, email="nowhere", username=None, phone_number="12", date_of_birth="31.12.1999")
    assert faults(response) == {
        "email": "invalid",
        "username": "required",
        "phone_number": "invalid_phone_number",
        "date_of_birth": "invalid",
    }


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("q8!zkw", "password_too_short"),
        ("password123", "password_too_common"),
        ("8301947263", "password_entirely_numeric"),
        ("newcomer1", "password_too_similar"),
        ("x" * 129, "max_length"),
        ("", "blank"),
    ],
)
def test_weak_passwords_are_refused(api_client: APIClient, password: str, code: str) -> None:
    """Django's four validators judge the password, knowing whose it is to be."""
    assert faults(register(api_client, password=password)) == {"password": code}
    assert not User.objects.exists()


def test_a_password_keeps_its_spaces(api_client: APIClient) -> None:
    """A password is taken as it was typed."""
    register(api_client, password="  spaces around me  ")
    assert User.objects.get().check_password("  spaces around me  ")


@pytest.mark.parametrize("number", ["+4930123456", "+1 (555) 010-9999", "+44.20.7946.0958"])
def test_phone_numbers_are_stored_in_one_form(api_client: APIClient, number: str) -> None:
    """Separators that people type are removed; what is left is E.164."""
    phone_number = register(api_client, phone_number=number).json()["phone_number"]
    assert phone_number[0] == "+"
    assert phone_number[1:].isdigit()


@pytest.mark.parametrize(
    "number", ["030123456", "+0123456789", "+12345", "+1234567890123456", "+49x30123456", "+٤٩٣٠١٢٣٤٥٦"]
)
def test_other_phone_numbers_are_refused(api_client: APIClient, number: str) -> None:
    """A number without its country code, too short, too long or not made of digits can't be called."""
    assert faults(register(api_client, phone_number=number)) == {"phone_number": "invalid_phone_number"}


@pytest.mark.parametrize("name", ["Ada\nBcc: all@example.com", "Ada\x1b[31m", "Ada\u202egro.elpmaxe", "Ada\u2028Bcc"])
def test_names_stay_on_their_line(api_client: APIClient, name: str) -> None:
    """A name that could break out of a mail's subject or a log's line is refused."""
    assert faults(register(api_client, first_name=name)) == {"first_name": "control_characters"}


@pytest.mark.parametrize("name", ["Zoë", "O’Brien", "Nguyễn Thị Minh Khai", "محمد", "李小龍", "Jean-Luc"])
def test_names_are_of_all_languages(api_client: APIClient, name: str) -> None:
    """Whatever script a name is written in, it is kept as it is."""
    assert register(api_client, first_name=name).json()["first_name"] == name


@pytest.mark.parametrize(
    ("day", "code"),
    [
        (timezone.localdate() + timedelta(days=1), "date_in_future"),
        (timezone.localdate().replace(day=1) - timedelta(days=132 * 365), "date_too_early"),
    ],
)
def test_births_are_plausible(api_client: APIClient, day: Any, code: str) -> None:
    """Nobody is born tomorrow, and nobody lives who is older than anybody ever was."""
    assert faults(register(api_client, date_of_birth=day.isoformat())) == {"date_of_birth": code}


def test_a_birth_today_is_fine(api_client: APIClient) -> None:
    """The edge belongs to what is allowed."""
    assert register(api_client, date_of_birth=timezone.localdate().isoformat()).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_one_of_two_at_the_same_time_wins(api_client: APIClient) -> None:
    """Of several who register one address at the same moment one is made, and the others get the fault, never a 500."""
    statuses = run_at_once(4, lambda number: register(api_client, username=f"racer{number}").status_code)
    assert sorted(statuses) == [201, 400, 400, 400]


def test_losing_the_race_is_the_same_fault(api_client: APIClient, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who passes the check and is refused by the database is told what the check tells."""
    check, calls = RegistrationSerializer.validate_email, []

    def blind_at_first(self: RegistrationSerializer, email: str) -> str:
        calls.append(email)
        return email if len(calls) == 1 else check(self, email)

    monkeypatch.setattr(RegistrationSerializer, "validate_email", blind_at_first)
    assert faults(register(api_client, email="alice@example.com")) == {"email": "unique"}
    assert len(calls) == 2
