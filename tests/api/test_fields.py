"""Tests of numbers, UUIDs, dates and times in bodies and queries, which are read as in JSON only."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import django_filters
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from bandstand import api as front_door
from bandstand.api.fields import LENIENT_FIELDS, is_integer, is_number, is_uuid

from .test_problems import problem_in

PLAIN_KEY = serializers.PrimaryKeyRelatedField
UUID_TEXT = "8e03978e-40d5-43dd-bc93-6894a57f9324"
UNDERSCORES = "8e03978e-40d5-43dd-bc93-6894a57f_324"


class Everything(serializers.Serializer[Any]):
    whole = front_door.IntegerField(required=False)
    big = front_door.BigIntegerField(required=False)
    real = front_door.FloatField(required=False)
    price = front_door.DecimalField(max_digits=10, decimal_places=2, required=False)
    key = front_door.UUIDField(required=False)
    day = front_door.DateField(required=False)
    moment = front_door.DateTimeField(required=False)
    clock = front_door.TimeField(required=False)
    span = front_door.DurationField(required=False)


NUMBERS = ("1_0", "1_000.5", "١٠", "１０", " 10", "10 ", "\t10", "10\n", "\u00a010", "0x10", "NaN", "nan", "sNaN",
           "inf", "Infinity", "-Infinity", "1e", "--1", "", " ", ".", "+", "1,0", True)  # fmt: skip
REFUSED = {
    "whole": (*NUMBERS, "1e1", "1.5"),
    "big": (*NUMBERS, "1e1", "1.5"),
    "real": (*NUMBERS, "1e999"),
    "price": NUMBERS,
    "key": (UNDERSCORES, f" {UUID_TEXT}", f"{UUID_TEXT}\n", "0x" + "1" * 30, "+" + "1" * 31, "٣" * 32, 5, True, ""),
    "day": ("٢٠٢٦-٠١-٠١", " 2026-01-01", "2026-01-01 ", "2026-0_1-01"),
    "moment": ("٢٠٢٦-٠١-٠١T١٠:٠٠:٠٠Z", " 2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z\n"),
    "clock": ("١٠:٠٠", " 10:00", "10:00\n"),
    "span": ("٣ ١٠:٠٠:٠٠", " 10:00:00", "1_0:00:00", "P1_0D"),
}
TAKEN = {
    "whole": {10: 10, "10": 10, "-10": -10, "+10": 10, "10.0": 10, "010": 10},
    "big": {10: 10, "10": 10},
    "real": {1: 1.0, 1.5: 1.5, "1.5": 1.5, "-1e3": -1000.0, ".5": 0.5},
    "price": {19.9: Decimal("19.90"), "19.90": Decimal("19.90"), 5: Decimal(5), "1e2": Decimal(100)},
    "key": {UUID_TEXT: UUID(UUID_TEXT), UUID_TEXT.upper(): UUID(UUID_TEXT), f"urn:uuid:{UUID_TEXT}": UUID(UUID_TEXT)},
}


def read(field: str, value: Any) -> Any:
    serializer = Everything(data={field: value})
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data[field]


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
def test_what_only_python_reads_is_refused(field: str, value: Any) -> None:
    """Underscores, other digits, white space and NaN are errors of the field, with its usual code."""
    with pytest.raises(ValidationError) as caught:
        read(field, value)
    assert caught.value.get_codes() == {field: ["invalid"]}


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [(field, value, meant) for field, values in TAKEN.items() for value, meant in values.items()],
)
def test_numbers_are_read(field: str, value: Any, meant: Any) -> None:
    """Numbers are read from JSON numbers and from text."""
    found = read(field, value)
    assert (type(found), found) == (type(meant), meant)


@pytest.mark.parametrize("plain", [field for field in LENIENT_FIELDS if field is not PLAIN_KEY])
def test_rest_frameworks_own_field_reads_more(plain: Any) -> None:
    """Each replaced field of REST framework accepts a value that its replacement refuses."""
    name = next(name for name, field in Everything().fields.items() if type(field) is LENIENT_FIELDS[plain])
    arguments = {"max_digits": 10, "decimal_places": 2} if name == "price" else {}

    def is_read(value: Any) -> bool:
        try:
            plain(**arguments).run_validation(value)
        except ValidationError:
            return False
        return True

    assert any(is_read(value) for value in REFUSED[name])


@given(st.text())
def test_no_other_text_is_a_number_than_in_json(text: str) -> None:
    """Every accepted text is ASCII without underscores, and Python can convert it."""
    if is_integer(text) or is_number(text):
        float(text)
    if is_uuid(text):
        UUID(text)
    if is_integer(text) or is_number(text) or is_uuid(text):
        assert text.isascii()
        assert not {"_", " ", "\n"} & set(text)


@given(st.one_of(st.integers().map(str), st.decimals(allow_nan=False, allow_infinity=False).map(str)))
def test_each_number_is_one(text: str) -> None:
    """Every finite number that Python writes is accepted."""
    assert is_number(text)


class GroupSerializer(front_door.ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("name", "permissions")


class UserSerializer(front_door.ChangesOnlySerializer[User]):
    class Meta:
        model = User
        fields = ("id", "date_joined")


def test_columns_of_models_have_these_fields() -> None:
    """ModelSerializer and ChangesOnlySerializer use these fields without further declarations."""
    assert type(UserSerializer().fields["date_joined"]) is front_door.DateTimeField
    assert type(UserSerializer().fields["id"]) is front_door.IntegerField
    assert type(GroupSerializer().fields["permissions"].child_relation) is front_door.PrimaryKeyRelatedField  # type: ignore[attr-defined]
    used = set(front_door.ModelSerializer.serializer_field_mapping.values())
    assert not used & set(LENIENT_FIELDS)


@pytest.mark.django_db
@pytest.mark.parametrize("shape", ["{0}_{1}", " {0}{1}", "{0}{1}\n", "{0}{1}.5"])
def test_a_row_has_one_key(shape: str) -> None:
    """A key such as "1_0" or 10.5, under which Django would find row 10, is refused; 10 and "10" are accepted."""
    known = Permission.objects.order_by("pk").filter(pk__gte=10)[0]
    first, second = str(known.pk)[:1], str(known.pk)[1:]
    text = shape.format(first, second)
    for key in (text, float(known.pk) + 0.5):
        serializer = GroupSerializer(data={"name": "a", "permissions": [key]})
        assert not serializer.is_valid()
        assert serializer.errors["permissions"][0].code == "incorrect_type"
    for key in (str(known.pk), known.pk):
        assert GroupSerializer(data={"name": "a", "permissions": [key]}).is_valid()


def test_decimals_that_are_none_are_a_fault_of_the_program() -> None:
    """Representing NaN or an infinity raises ValueError."""
    field = front_door.DecimalField(max_digits=None, decimal_places=None)
    for value in (Decimal("NaN"), Decimal("Infinity"), "-Infinity"):
        with pytest.raises(ValueError, match="no number in JSON"):
            field.to_representation(value)
    assert field.to_representation(Decimal("1.5")) == "1.5"


class UserFilter(django_filters.rest_framework.FilterSet):
    id__gte = django_filters.NumberFilter(field_name="id", lookup_expr="gte")
    group = django_filters.ModelChoiceFilter(field_name="groups", queryset=Group.objects.all())
    between = django_filters.RangeFilter(field_name="id")
    key = django_filters.UUIDFilter(method="by_key")
    joined = django_filters.IsoDateTimeFilter(field_name="date_joined", lookup_expr="gte")
    day = django_filters.DateFilter(field_name="date_joined", lookup_expr="date__gte")
    name = django_filters.CharFilter(field_name="username")

    def by_key(self, queryset: Any, name: str, value: UUID) -> Any:
        return queryset.filter(username=str(value))


class NumbersFilter(django_filters.BaseInFilter, django_filters.NumberFilter):
    pass


class ListFilter(UserFilter):
    ids = NumbersFilter(field_name="id", lookup_expr="in")


class Users(APIView):
    filterset_class: ClassVar[Any] = ListFilter


def filtered(query: str, backend: Any = front_door.FilterBackend) -> Any:
    request = Request(APIRequestFactory().get("/"))
    request._request.GET = QueryDict(query)
    return backend().filter_queryset(request, User.objects.all(), Users())


LENIENT_QUERIES = [
    ("id__gte", "1_0"), ("id__gte", "١٠"), ("id__gte", "%2010"), ("id__gte", "10%0A"),
    ("ids", "1,1_0"), ("ids", "١٠,2"), ("ids", "1,%202"),
    ("between_min", "1_0"), ("between_max", "١٠"),
    ("joined", "٢٠٢٦-٠١-٠١T١٠:٠٠:٠٠Z"), ("key", UNDERSCORES), ("key", "0x" + "1" * 30),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "value"), LENIENT_QUERIES)
def test_a_filter_refuses_what_only_python_reads(name: str, value: str) -> None:
    """A list, a range or a single value is refused, though django-filter's own backend accepts it."""
    with pytest.raises(ValidationError) as caught:
        filtered(f"{name}={value}")
    assert [error.code for error in next(iter(caught.value.detail.values()))] == ["invalid"]  # type: ignore[union-attr]
    filtered(f"{name}={value}", django_filters.rest_framework.DjangoFilterBackend)


@pytest.mark.django_db
def test_a_filter_finds_a_row_by_its_own_key_alone() -> None:
    """A choice of a related row reads its key strictly, too."""
    group = Group.objects.create(pk=10, name="a")
    user = User.objects.create(username="ada")
    user.groups.add(group)
    assert list(filtered("group=10")) == [user]
    with pytest.raises(ValidationError):
        filtered("group=1_0")
    assert list(filtered("group=1_0", django_filters.rest_framework.DjangoFilterBackend)) == [user]


@pytest.mark.django_db
def test_a_filter_reads_numbers() -> None:
    """Integers, decimals, lists and ranges are read, and empty parameters are ignored."""
    user = User.objects.create(pk=5, username=UUID_TEXT)
    queries = [
        "id__gte=5", "id__gte=4.5", "ids=5,6", "between_min=1&between_max=5.0", f"key={UUID_TEXT.upper()}",
        "day=2026-01-01", "joined=2026-01-01T10:00:00Z", "id__gte=", "ids=", "name=" + UUID_TEXT, "",
    ]  # fmt: skip
    for query in queries:
        assert list(filtered(query)) == [user], query


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["0_1", "١", "１", "%201", "1%0A", "1%20"])
def test_a_page_is_named_in_ascii_digits(api: APIClient, page: str) -> None:
    """A page number in other digits is 404, and a page size in other digits is ignored."""
    problem_in(api.get(f"/api/v1/groups/?page={page}"), 404)
    Group.objects.bulk_create(Group(name=str(number)) for number in range(25))
    for path in ("groups", "users"):
        User.objects.bulk_create(User(username=f"{path}{number}") for number in range(25))
        assert len(api.get(f"/api/v1/{path}/?page_size={page}").json()["results"]) == 20


@pytest.mark.django_db
def test_the_frameworks_own_key_finds_another_row() -> None:
    """REST framework's own field finds a row by a rounded number, so PrimaryKeyRelatedField has to refuse it."""
    known = Permission.objects.all()[0]
    assert PLAIN_KEY(queryset=Permission.objects.all()).to_internal_value(known.pk + 0.5) == known
