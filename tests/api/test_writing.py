"""Writes that go on at the same time, and lists that stay in order."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError
from django.db.models import F
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from bandstand.api import ChangesOnlySerializer, LookOnly, StableOrderingFilter, save_unique


class NamesSerializer(ChangesOnlySerializer[User]):
    class Meta:
        model = User
        fields = ("username", "first_name", "last_name")


class WholeRowSerializer(serializers.ModelSerializer[User]):
    class Meta(NamesSerializer.Meta):
        pass


class GroupSerializer(ChangesOnlySerializer[Group]):
    class Meta:
        model = Group
        fields = ("name", "permissions")


def changed_meanwhile(serializer_class: type[serializers.ModelSerializer[User]]) -> User:
    stale = User.objects.create(username="ada", first_name="Ada")
    User.objects.update(first_name="Written meanwhile")
    serializer = serializer_class(stale, data={"last_name": "Lovelace"}, partial=True)
    serializer.is_valid(raise_exception=True)
    serializer.save()
    return User.objects.get()


@pytest.mark.django_db
def test_only_what_is_named_is_written() -> None:
    """What another wrote between our read and our write stays."""
    user = changed_meanwhile(NamesSerializer)
    assert (user.first_name, user.last_name) == ("Written meanwhile", "Lovelace")


@pytest.mark.django_db
def test_the_obvious_serializer_takes_it_back() -> None:
    """The same with REST framework's own serializer loses the other's change: the test above can fail."""
    assert changed_meanwhile(WholeRowSerializer).first_name == "Ada"


@pytest.mark.django_db
def test_nothing_named_writes_nothing(django_assert_num_queries: Any) -> None:
    """An empty change is no statement."""
    serializer = NamesSerializer(User.objects.create(username="ada"), data={}, partial=True)
    serializer.is_valid(raise_exception=True)
    with django_assert_num_queries(0):
        serializer.save()


@pytest.mark.django_db
def test_relations_to_many_are_set() -> None:
    """A field that is no column is set as REST framework does."""
    kind = ContentType.objects.create(app_label="a", model="b")
    allowed = Permission.objects.create(name="x", content_type=kind, codename="x")
    serializer = GroupSerializer(Group.objects.create(name="a"), data={"permissions": [allowed.pk]}, partial=True)
    serializer.is_valid(raise_exception=True)
    assert list(serializer.save().permissions.all()) == [allowed]


@pytest.mark.django_db
def test_a_name_taken_between_check_and_write_is_refused_as_before_it() -> None:
    """Who loses the race is told the same as who came late."""
    serializer = NamesSerializer(data={"username": "ada"})
    serializer.is_valid(raise_exception=True)
    User.objects.create(username="ada")
    with pytest.raises(ValidationError) as caught:
        save_unique(serializer)
    assert caught.value.detail["username"][0].code == "unique"


@pytest.mark.django_db
def test_another_constraint_is_not_explained_away() -> None:
    """Where the validation finds nothing wrong, the database's own refusal stands."""

    class Broken(NamesSerializer):
        def create(self, validated_data: dict[str, Any]) -> User:
            raise IntegrityError("another constraint")

    serializer = Broken(data={"username": "ada"})
    serializer.is_valid(raise_exception=True)
    with pytest.raises(IntegrityError, match="another constraint"):
        save_unique(serializer)


class UsersView(APIView):
    ordering_fields = ("username", "last_name", "id")


def ordering(query: str, **attributes: Any) -> list[Any]:
    view = UsersView()
    for name, value in attributes.items():
        setattr(view, name, value)
    request = Request(APIRequestFactory().get(f"/?ordering={query}"))
    return StableOrderingFilter().get_ordering(request, User.objects.all(), view)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("last_name", ["last_name", "pk"]),
        ("-last_name", ["-last_name", "-pk"]),
        ("last_name,-username", ["last_name", "-username", "-pk"]),
        ("id", ["id"]),
        ("last_name,-id", ["last_name", "-id"]),
        ("password", []),
        ("", []),
    ],
)
def test_the_primary_key_decides_between_equals(query: str, expected: list[str]) -> None:
    """The key comes last, in the direction of what is before it, unless it is named already."""
    assert ordering(query) == expected


def test_the_views_own_ordering_is_made_stable_too() -> None:
    """Also where it is written with expressions."""
    assert ordering("", ordering=("last_name",)) == ["last_name", "pk"]
    last = F("last_name").desc(nulls_last=True)
    assert ordering("", ordering=(last,)) == [last, "-pk"]
    key = F("pk").desc()
    assert ordering("", ordering=(last, key)) == [last, key]


def test_whoever_only_looks_changes_nothing() -> None:
    """Adding, changing and deleting are refused, for the model and for each object."""
    request: Any = APIRequestFactory().get("/")
    for may in (LookOnly().has_add_permission, LookOnly().has_change_permission, LookOnly().has_delete_permission):
        assert not may(request)
        assert not may(request, object())
