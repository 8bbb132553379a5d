"""The demonstration users."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from users import sign_in
from users.management.commands.seed_demo import DEMO_PASSWORD, PEOPLE
from users.models import User

pytestmark = pytest.mark.django_db


def seed(**options: str) -> str:
    output = StringIO()
    call_command("seed_demo", stdout=output, **options)
    return output.getvalue()


def test_the_people_can_sign_in(settings: Settings) -> None:
    """Everybody is added with a profile and the documented password, and one of them is staff."""
    settings.DEBUG = True
    assert "alice@example.com" in seed()
    assert User.objects.count() == len(PEOPLE) >= 10
    alice = sign_in.authenticate("alice@example.com", DEMO_PASSWORD)
    assert alice is not None
    assert alice.profile.bio
    assert list(User.objects.filter(is_staff=True).values_list("email", flat=True)) == ["admin@example.com"]


def test_people_are_valid(settings: Settings) -> None:
    """The demonstration keeps the rules that everybody keeps."""
    settings.DEBUG = True
    seed()
    for user in User.objects.all():
        user.full_clean()
        user.profile.full_clean()


def test_seeding_again_changes_nothing(settings: Settings) -> None:
    """Who is there already stays, with the own password."""
    settings.DEBUG = True
    seed(password="another horse battery")
    before = list(User.objects.values())
    assert "0 of" in seed()
    assert list(User.objects.values()) == before


def test_production_has_no_demonstration() -> None:
    """With DEBUG off nobody is added, and the text says what to do instead."""
    with pytest.raises(CommandError, match="createsuperuser"):
        seed()
    assert not User.objects.exists()
