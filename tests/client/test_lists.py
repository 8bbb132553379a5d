import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from bandstand.client import AsyncServiceClient, Page, Resource, ServiceClient
from bandstand.exceptions import ConfigurationError, ServiceResponseError, ServiceUnavailable
from bandstand.testing.services import FakeServices, RecordedCall, fake_services

LIST = "/api/v1/products/"


class Product(msgspec.Struct):
    id: int
    name: str = ""


class Both:
    """Reads lists with one of the two clients."""

    def __init__(self, kind: str) -> None:
        self._sync = kind == "sync"
        self._make: Any = ServiceClient if self._sync else AsyncServiceClient

    def _all(self, method: str, *args: Any, **options: Any) -> list[Any]:
        found = getattr(self._make("product-service"), method)(*args, **options)
        if self._sync:
            return list(found)

        async def collect() -> list[Any]:
            return [one async for one in found]

        return asyncio.run(collect())

    def items(self, *args: Any, **options: Any) -> list[Any]:
        return self._all("items", *args, **options)

    def pages(self, *args: Any, **options: Any) -> list[Page[Any]]:
        return self._all("pages", *args, **options)

    def load(self, *args: Any, resources: Any = None, **options: Any) -> dict[Any, Any]:
        found: Any = self._make("product-service", resources=resources).load(*args, **options)
        return found if self._sync else asyncio.run(found)  # type: ignore[no-any-return]


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


@pytest.fixture
def fake() -> Any:
    with fake_services() as fake:
        yield fake


def numbered(total: int, size: int, host: str = "http://product-service.invalid") -> Callable[[RecordedCall], Any]:
    """A list of ``total`` items in pages by number, as REST framework writes it."""

    def answer(call: RecordedCall) -> dict[str, Any]:
        page = int(call.params.get("page", ["1"])[0])
        more = page * size < total
        return {
            "count": total,
            "next": f"{host}{LIST}?page={page + 1}&q=a%20b" if more else None,
            "previous": None,
            "results": [{"id": number} for number in range((page - 1) * size, min(total, page * size))],
        }

    return answer


def test_items_of_all_pages(fake: FakeServices, client: Both) -> None:
    """A list is read to its end, each page once, with the same options on each page."""
    rule = fake.on("product-service", "GET", LIST, json=numbered(5, 2))
    found = client.items(LIST, Product, params={"q": "a b"}, on_behalf_of="Bearer abc")
    assert found == [Product(number) for number in range(5)]
    assert [call.params.get("page") for call in rule.calls] == [None, ["2"], ["3"]]
    assert all(call.params["q"] == ["a b"] for call in rule.calls)
    assert all(call.headers["authorization"] == "Bearer abc" for call in rule.calls)


def test_pages_by_cursor(fake: FakeServices, client: Both) -> None:
    """Pages that go by cursor and have no count are read the same way; an odd cursor arrives as it was given out."""
    cursor = "cj0x/+=&"
    following = "/api/v1/products/?cursor=cj0x%2F%2B%3D%26"
    rule = fake.on("product-service", "GET", LIST, json={"next": following, "results": [1]})
    rule.then(json={"next": None, "previous": "x", "results": [2]})
    first, second = client.pages(LIST, int)
    assert (first.results, first.count, second.results) == ((1,), None, (2,))
    assert rule.calls[1].params == {"cursor": [cursor]}


def test_pages_are_read_when_needed(fake: FakeServices) -> None:
    """Who stops reading causes no further call."""
    rule = fake.on("product-service", "GET", LIST, json=numbered(100, 2))
    assert next(ServiceClient("product-service").items(LIST)) == {"id": 0}
    assert len(rule.calls) == 1


def test_a_list_without_pages_is_one_page(fake: FakeServices, client: Both) -> None:
    """An answer that is a plain list is the whole list."""
    fake.on("product-service", "GET", LIST, json=[{"id": 1}])
    assert client.items(LIST, Product) == [Product(1)]


def test_no_link_leads_to_another_host(fake: FakeServices, client: Both) -> None:
    """A next that names another host is asked of the same service: the host of a link is never used."""
    rule = fake.on("product-service", "GET", LIST, json=numbered(4, 2, host="http://evil.example:81"))
    assert len(client.items(LIST)) == 4
    assert len(rule.calls) == len(fake.calls) == 2


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("/api/v1/users/?page=2", "another list"),
        ("http://user-service/internal/?page=2", "another list"),
        ("//evil.example/api/?page=2", "another list"),
        (f"{LIST}?page=2", "read already"),
    ],
)
def test_links_that_lead_astray(fake: FakeServices, client: Both, link: str, text: str) -> None:
    """A next that leads to another path, or round in a circle, is refused with an error that says so."""
    fake.on("product-service", "GET", LIST, json={"next": link, "results": [1]})
    with pytest.raises(ServiceResponseError, match=text):
        client.items(LIST)


def test_lists_are_bounded(fake: FakeServices, client: Both) -> None:
    """After max_pages there is an error and no further call, however long the list is."""
    rule = fake.on("product-service", "GET", LIST, json=numbered(1000, 1))
    with pytest.raises(ServiceResponseError, match="more than 3 pages"):
        client.items(LIST, max_pages=3)
    assert len(rule.calls) == 3
    with pytest.raises(ValueError, match="max_pages is 0"):
        client.items(LIST, max_pages=0)


def test_what_is_no_page(fake: FakeServices, client: Both) -> None:
    """An answer that is no page, or holds other items than those asked for, is an error of the service."""
    rule = fake.on("product-service", "GET", LIST, json={"results": 7}).then(json={"results": [{"name": "x"}]})
    for _ in range(2):
        with pytest.raises(ServiceResponseError, match="can't be used"):
            client.items(LIST, Product)
    assert len(rule.calls) == 2


def given_out(call: RecordedCall) -> dict[str, Any]:
    """The products asked for, last first; those above 90 do not exist."""
    ids = [int(one) for one in call.params["ids"][0].split(",")]
    return {"results": [{"id": one, "name": f"n{one}"} for one in reversed(ids) if one <= 90]}


def test_many_look_ups_are_one_call(fake: FakeServices, client: Both) -> None:
    """Each id is asked for once, in one call; the answer has the order of the ids, and None for what is missing."""
    rule = fake.on("product-service", "GET", LIST, json=given_out)
    found = client.load("products", [5, 99, 3, 5])
    assert list(found.items()) == [(5, {"id": 5, "name": "n5"}), (99, None), (3, {"id": 3, "name": "n3"})]
    (call,) = rule.calls
    assert call.params == {"ids": ["5,99,3"], "page_size": ["3"]}


def test_a_declared_resource(fake: FakeServices, client: Both) -> None:
    """Path, parameter, key, size of a batch and type of the items are those declared, by name or as an object."""
    names = Resource(path="/names/", ids="name__in", page_size="", key="name", size=2, item=Product)
    rule = fake.on(
        "product-service",
        "GET",
        "/names/",
        json=lambda call: [{"id": 1, "name": name} for name in call.params["name__in"][0].split(",")],
    )
    expected = {name: Product(1, name) for name in "abc"}
    assert client.load("by-name", "abcab", resources={"by-name": names}) == expected
    assert client.load(names, iter("abc"), timeout=0.5) == expected
    assert [call.params for call in rule.calls] == [{"name__in": ["a,b"]}, {"name__in": ["c"]}] * 2


def test_ids_of_any_type(fake: FakeServices, client: Both) -> None:
    """Ids are what the caller has, UUIDs as well as text; each gets its item."""
    one = uuid4()
    fake.on("product-service", "GET", LIST, json={"results": [{"id": str(one)}]})
    assert client.load("products", [one, str(one)]) == {one: {"id": str(one)}, str(one): {"id": str(one)}}
    assert isinstance(next(iter(client.load("products", [one]))), UUID)


def test_no_ids_no_call(fake: FakeServices, client: Both) -> None:
    """To load nothing costs nothing."""
    assert client.load("products", []) == {}
    assert fake.calls == []


def test_services_with_smaller_pages(fake: FakeServices, client: Both) -> None:
    """Where the service makes smaller pages than asked for, all of them are read."""
    fake.on("product-service", "GET", LIST, json=numbered(5, 2))
    assert list(client.load("products", range(5)).values()) == [{"id": number} for number in range(5)]


def test_no_fallback_looks_like_missing(fake: FakeServices) -> None:
    """A client's fallback answers its other calls, but never makes of an outage that nothing exists."""
    fake.down("product-service")
    client = ServiceClient("product-service", fallback=[])
    assert list(client.items(LIST)) == []
    with pytest.raises(ServiceUnavailable):
        client.load("products", [1])
    with pytest.raises(ServiceUnavailable):
        asyncio.run(AsyncServiceClient("product-service", fallback=[]).load("products", [1]))


def test_loads_that_fail(fake: FakeServices, client: Both) -> None:
    """A service that is away, and one that does not say which item is which, are errors and never 'missing'."""
    fake.on("product-service", "GET", LIST, json={"results": [{"name": "x"}]})
    with pytest.raises(ServiceResponseError, match="without a field 'id'"):
        client.load("products", [1])
    fake.down("product-service")
    with pytest.raises(ServiceUnavailable):
        client.load("products", [1])


def test_services_that_ignore_the_ids(fake: FakeServices, client: Both) -> None:
    """A list that is not narrowed to the ids is an error: what is not on its first page would seem not to exist."""
    fake.on("product-service", "GET", LIST, json={"results": [{"id": 1}, {"id": 2}]})
    with pytest.raises(ServiceResponseError, match="ignores 'ids'"):
        client.load("products", [2, 3])


@pytest.mark.parametrize(("path", "expected"), [("/x/", "/x/a%2Fb/"), ("/x", "/x/a%2Fb")])
def test_the_path_of_one(path: str, expected: str) -> None:
    """A single thing is found below the list, with the slash at its end that the list has."""
    assert Resource(path=path).path_of("a/b") == expected


@pytest.mark.parametrize("wrong", ["1,2", ""])
def test_ids_that_would_be_others(fake: FakeServices, client: Both, wrong: str) -> None:
    """An id with a comma would ask for other ids, so it is refused before anything is sent."""
    with pytest.raises(ValueError, match="can't be an id"):
        client.load("products", [wrong])
    assert fake.calls == []


def test_resources_are_checked_when_declared() -> None:
    """All faults of a declaration are told at once."""
    with pytest.raises(ConfigurationError) as caught:
        Resource(path="products", key="", size=0)
    assert len(caught.value.faults) == 3
