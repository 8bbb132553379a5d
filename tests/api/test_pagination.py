from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from pytest_django.fixtures import Settings
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from bandstand.api import CursorPagination

from .test_problems import problem_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def groups() -> None:
    Group.objects.bulk_create(Group(name=f"{number:03}") for number in range(250))


@pytest.fixture
def users() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    User.objects.bulk_create(
        User(username=f"u{number}", date_joined=began + timedelta(minutes=number)) for number in range(50)
    )


@pytest.mark.usefixtures("groups")
def test_a_list_comes_in_pages_of_twenty(api: APIClient) -> None:
    """With the number of all, and addresses of the next and the previous page that work."""
    first = api.get("/api/v1/groups/").json()
    assert set(first) == {"count", "next", "previous", "results"}
    assert (first["count"], len(first["results"]), first["previous"]) == (250, 20, None)
    second = api.get(first["next"]).json()
    assert [group["name"] for group in second["results"]][:2] == ["020", "021"]
    assert api.get(second["previous"]).json()["results"] == first["results"]


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("asked", "given"),
    [("5", 5), ("100", 100), ("101", 100), ("9" * 500, 100), ("0", 20), ("-1", 20), ("x", 20), ("", 20)],
)
def test_a_page_has_at_most_a_hundred(api: APIClient, asked: str, given: int) -> None:
    """What is no size is the usual one."""
    assert len(api.get(f"/api/v1/groups/?page_size={asked}").json()["results"]) == given


@pytest.mark.usefixtures("groups")
def test_sizes_are_settings(api: APIClient, settings: Settings) -> None:
    """Of each service."""
    settings.BANDSTAND = {**settings.BANDSTAND, "API": {"PAGE_SIZE": 3, "MAX_PAGE_SIZE": 7}}
    assert len(api.get("/api/v1/groups/").json()["results"]) == 3
    assert len(api.get("/api/v1/groups/?page_size=50").json()["results"]) == 7


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    "page", ["0", "-1", "14", "9" * 30, "9" * 999, "1e3", "x", "1.5", "٣x", "0x1", " ", "%ff", "last2"]
)
def test_a_page_that_is_not_there(api: APIClient, page: str) -> None:
    """404, however large or odd its number is."""
    assert problem_in(api.get(f"/api/v1/groups/?page={page}"), 404)["code"] == "not_found"


@pytest.mark.usefixtures("users")
def test_a_cursor_goes_through_everything_once(api: APIClient) -> None:
    """Also when rows are added meanwhile."""
    seen, address = [], "/api/v1/users/"
    while address:
        page = api.get(address).json()
        seen += [user["username"] for user in page["results"]]
        User.objects.create(username=f"new{len(seen)}", date_joined=datetime(2027, 1, 1, tzinfo=UTC))
        address = page["next"]
    assert seen == [f"u{number}" for number in range(49, -1, -1)]


def cursor(**parts: str) -> str:
    return b64encode(urlencode(parts).encode()).decode()


def made(position: str) -> str:
    return urlsafe_b64encode(position.encode()).decode()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    "made_up",
    [
        "x", "%%%", "====", "\u00fc", cursor(p="x"), cursor(p="2026-13-45"), cursor(o="x"), cursor(p=""), cursor(r="x"),
        cursor(p="9" * 400), cursor(o="9" * 30, p="2026-01-01T00:00:00Z"), b64encode(b"\xff\xfe").decode(),
        cursor(p="0000-00-00 00:00"), made('[false,["-date_joined","-id"],["x","1"]]'), made("[]"), made("{}"),
        made('[false,["-date_joined","-id"],["2026-01-01T00:00:00Z","9999999999999999999999"]]'),
        made('[false,["-date_joined","-id"],["2026-01-01T00:00:00Z"]]'), made('[1,2,3]'), made("[" * 10_000),
    ],
)  # fmt: skip
def test_a_cursor_that_somebody_made_up(api: APIClient, made_up: str) -> None:
    """Never an error of ours."""
    response: Any = api.get("/api/v1/users/", {"cursor": made_up})
    assert response.status_code in {200, 404}
    if response.status_code == 404:
        problem_in(response, 404)


def walk(ordering: tuple[str, ...], size: int) -> tuple[list[int], list[int]]:
    """Return the ids of all pages, forwards, and backwards from the last page."""

    class Pages(CursorPagination):
        pass

    Pages.ordering = ordering
    url: str | None = f"/?page_size={size}"
    forwards: list[list[int]] = []
    backwards: list[list[int]] = []
    while url and len(forwards) < 100:
        pages = Pages()
        rows = pages.paginate_queryset(User.objects.all(), Request(APIRequestFactory().get(url)))
        forwards.append([user.pk for user in rows or ()])
        previous, url = pages.get_previous_link(), pages.get_next_link()
    while previous and len(backwards) < 100:
        pages = Pages()
        rows = pages.paginate_queryset(User.objects.all(), Request(APIRequestFactory().get(previous)))
        backwards.append([user.pk for user in rows or ()])
        previous = pages.get_previous_link()
    return list(chain(*forwards)), list(chain(*reversed(backwards), forwards[-1]))


@pytest.mark.parametrize(
    "ordering",
    [("last_login",), ("-last_login",), ("-last_login", "id"), ("is_staff", "-last_login"), ("-id",), ("pk",)],
)
@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_each_row_is_on_one_page(ordering: tuple[str, ...], size: int) -> None:
    """Paging in both directions finds each row once, also rows with NULL and rows with equal values."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    User.objects.bulk_create(
        User(
            username=str(number),
            is_staff=number % 2 == 0,
            last_login=None if number % 3 else began + timedelta(hours=number // 9),
        )
        for number in range(30)
    )
    forwards, backwards = walk(ordering, size)
    assert len(forwards) == 30
    assert set(forwards) == set(User.objects.values_list("pk", flat=True))
    assert backwards == forwards


def test_any_number_of_rows_may_be_equal() -> None:
    """Rows that all have the same time, as after an import, are paged by their primary key."""
    User.objects.bulk_create(User(username=str(n), date_joined=datetime(2026, 1, 1, tzinfo=UTC)) for n in range(2500))
    forwards, _ = walk(("-date_joined",), 100)
    assert forwards == sorted(User.objects.values_list("pk", flat=True), reverse=True)


def test_rows_without_a_value_are_where_postgresql_has_them() -> None:
    """NULL comes last in ascending order and first in descending, so that PostgreSQL's indexes apply."""
    for name, login in (("none", None), ("some", datetime(2026, 1, 1, tzinfo=UTC))):
        User.objects.create(username=name, last_login=login)
    none, some = User.objects.order_by("username").values_list("pk", flat=True)
    assert walk(("last_login",), 1)[0] == [some, none]
    assert walk(("-last_login",), 1)[0] == [none, some]


def test_a_cursor_belongs_to_its_order() -> None:
    """A cursor of another order is 404."""
    User.objects.bulk_create(User(username=str(number)) for number in range(3))
    pages = CursorPagination()
    pages.ordering = ("username",)
    pages.paginate_queryset(User.objects.all(), Request(APIRequestFactory().get("/?page_size=1")))
    following = pages.get_next_link()
    pages.ordering = ("-username",)
    with pytest.raises(NotFound):
        pages.paginate_queryset(User.objects.all(), Request(APIRequestFactory().get(following)))


@pytest.mark.parametrize("identifier", ["0", "-1", "9" * 40, "x", "1.0", "%ff", "\u0663", "a b", "'", "1;--"])
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_an_object_that_is_not_there(api: APIClient, method: str, identifier: str) -> None:
    """404 for every identifier that is none, and a problem."""
    problem_in(getattr(api, method)(f"/api/v1/groups/{identifier}/", {"name": "x"}), 404)
