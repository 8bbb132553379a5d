"""The two clients: thin shells around :class:`Call`, one that waits and one that awaits."""

from asyncio import _get_running_loop  # which, unlike the public one, tells that there is none without an exception
from collections.abc import AsyncIterator, Awaitable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, Unpack, overload

from django.utils.asyncio import async_unsafe
from msgspec import UNSET

from bandstand.client.call import Call
from bandstand.client.fallbacks import checked_fallback
from bandstand.client.loading import Loading, Resource
from bandstand.client.messages import Response
from bandstand.client.paging import MAX_PAGES, Page, Walk
from bandstand.client.policies import configured_policy
from bandstand.client.preparation import LoadOptions, Options, prepare
from bandstand.client.targets import Target, target_of
from bandstand.client.transports import TransportError, async_transport, transport
from bandstand.conf import Settings, get_settings
from bandstand.resilience import Policy

__all__ = ["AsyncServiceClient", "ServiceClient", "call_service", "services_with_clients"]

_services: Final[set[str]] = set()

R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class _Client(Generic[R]):
    """What both clients have: a target, its policy, and a method for each verb. Cheap to make, safe to share."""

    def __init__(
        self,
        service: str,
        *,
        policy: Policy | None = None,
        fallback: Any = UNSET,
        resources: Mapping[str, Resource[Any]] | None = None,
    ) -> None:
        """``resources`` says how what ``load()`` knows by name is loaded.

        ``fallback`` is what is answered when the service can't be had (never when it says no): a value, or a function
        of the error. The answer then has ``fallback`` set.
        """
        self.service = service
        _services.add(service)
        self._policy = policy
        self._fallback = checked_fallback(fallback)
        self._known: tuple[Settings, Target] | None = None
        self._resources = resources or {}

    @property
    def policy(self) -> Policy:
        """The limits of each call: those given to the constructor, or those of ``BANDSTAND["CLIENT"]``."""
        return self._policy or configured_policy(self.service)

    def request(self, method: str, path: str, **options: Unpack[Options]) -> R:
        raise NotImplementedError

    def get(self, path: str, **options: Unpack[Options]) -> R:
        """Make a GET request; see :meth:`request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> R:
        """Make a POST request; see :meth:`request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> R:
        """Make a PUT request; see :meth:`request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[Options]) -> R:
        """Make a PATCH request; see :meth:`request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> R:
        """Make a DELETE request; see :meth:`request`."""
        return self.request("DELETE", path, **options)

    def _call(self, method: str, path: str, options: Options) -> Call:
        order = prepare(self.service, method, path, options)
        fallback = checked_fallback(options["fallback"]) if "fallback" in options else self._fallback
        return Call(order, self._target(), timeout=options.get("timeout"), fallback=fallback)

    def _target(self) -> Target:
        """What this process knows of the service; looking it up costs more than looking whether it still holds."""
        known, settings = self._known, get_settings()
        if known is None or known[0] is not settings or known[1].forgotten:
            known = self._known = (settings, target_of(self.service, self.policy))
        return known[1]

    def _loading(self, resource: str | Resource[T], ids: Iterable[K]) -> tuple[Resource[T], Loading[K, T]]:
        if isinstance(resource, str):
            resource = self._resources.get(resource) or Resource(path=f"/api/v1/{resource}/")
        return resource, Loading(self.service, resource, ids)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.service!r})"


class ServiceClient(_Client[Response]):
    """Calls one service: ``ServiceClient("user-service").get("/api/v1/users/1/").json()``.

    Context, deadline and service token go along by themselves. Connections are kept open for each thread.
    """

    def request(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        """Make a request and return the answer, whose status is below 400.

        ``options`` are those of :class:`Options`.

        Raises:
            ServiceResponseError: the service answered with an error status (or a redirect, which is never followed).
            ServiceTimeout: it did not answer in time.
            ServiceUnavailable: it could not be reached, or said 502, 503 or 504 also at the last attempt; as
                ``CircuitOpen`` or ``TooManyCalls`` it was not even tried.
            DeadlineExceeded: there was no time left to ask.
            ValueError, TypeError: the request is not one that can be sent.
        """
        if _get_running_loop() is not None:
            _refuse_to_wait()
        way = transport()
        call = self._call(method, path, options)
        try:
            while True:
                request = call.attempt()
                try:
                    outcome: Response | TransportError = way.send(request)
                except TransportError as error:
                    outcome = error
                result = call.conclude(outcome)
                if isinstance(result, Response):
                    return result
                way.pause(result)
        except BaseException as error:
            if instead := call.abandon(error):
                return instead
            raise

    def pages(
        self, path: str, item: type[T] | Any = Any, *, max_pages: int = MAX_PAGES, **options: Unpack[Options]
    ) -> Iterator[Page[T]]:
        """Read a list page by page, each when it is needed, by number or by cursor; ``item`` is the type of an item.

        Only the query of a ``next`` is followed: the pages come from the same path of the same service.

        Raises:
            ServiceResponseError: also for a ``next`` that leads to another list or back, and after ``max_pages``.
            ServiceCallError, DeadlineExceeded: as :meth:`request`.
        """
        walk: Walk[T] = Walk(path, item, max_pages, options)
        for target, step in walk.steps():
            yield walk.take(self.get(target, **step))

    def items(
        self, path: str, item: type[T] | Any = Any, *, max_pages: int = MAX_PAGES, **options: Unpack[Options]
    ) -> Iterator[T]:
        """Read the items of a list, with all its pages; everything is as with :meth:`pages`."""
        for page in self.pages(path, item, max_pages=max_pages, **options):
            yield from page.results

    @overload
    def load(self, resource: str, ids: Iterable[K], **options: Unpack[LoadOptions]) -> dict[K, Any]: ...
    @overload
    def load(self, resource: Resource[T], ids: Iterable[K], **options: Unpack[LoadOptions]) -> dict[K, T | None]: ...

    def load(self, resource: Any, ids: Iterable[K], **options: Unpack[LoadOptions]) -> dict[K, Any]:
        """Return many things by their ids with one call: each id, in the order given, with its item or None.

        ``resource`` is a name that the client knows, or the resource itself; any other name stands for
        ``/api/v1/{name}/``. Only for more ids than ``Resource.size`` there is more than one call. No id, no call. The
        client's fallback is not used: what could not be asked for must not look like what does not exist.

        Raises:
            ServiceCallError, DeadlineExceeded: as :meth:`request`. Nothing is returned unless all could be asked.
        """
        how, loading = self._loading(resource, ids)
        for query in loading.batches():
            loading.take(self.items(how.path, how.item, params=query, fallback=UNSET, **options))
        return loading.result()


class AsyncServiceClient(_Client[Awaitable[Response]]):
    """The same for coroutines: ``(await AsyncServiceClient("user-service").get("/api/v1/users/1/")).json()``.

    Needs the extra ``bandstand[async]``. Connections are kept open for each event loop.
    """

    async def request(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        """Make a request; everything is as with :meth:`ServiceClient.request`."""
        way = async_transport()
        call = self._call(method, path, options)
        try:
            while True:
                request = call.attempt()
                try:
                    outcome: Response | TransportError = await way.send(request)
                except TransportError as error:
                    outcome = error
                result = call.conclude(outcome)
                if isinstance(result, Response):
                    return result
                await way.pause(result)
        except BaseException as error:
            if instead := call.abandon(error):
                return instead
            raise

    async def pages(
        self, path: str, item: type[T] | Any = Any, *, max_pages: int = MAX_PAGES, **options: Unpack[Options]
    ) -> AsyncIterator[Page[T]]:
        """Read a list page by page; everything is as with :meth:`ServiceClient.pages`."""
        walk: Walk[T] = Walk(path, item, max_pages, options)
        for target, step in walk.steps():
            yield walk.take(await self.get(target, **step))

    async def items(
        self, path: str, item: type[T] | Any = Any, *, max_pages: int = MAX_PAGES, **options: Unpack[Options]
    ) -> AsyncIterator[T]:
        """Read the items of a list, with all its pages, as :meth:`ServiceClient.items`."""
        async for page in self.pages(path, item, max_pages=max_pages, **options):
            for one in page.results:
                yield one

    @overload
    async def load(self, resource: str, ids: Iterable[K], **options: Unpack[LoadOptions]) -> dict[K, Any]: ...
    @overload
    async def load(
        self, resource: Resource[T], ids: Iterable[K], **options: Unpack[LoadOptions]
    ) -> dict[K, T | None]: ...

    async def load(self, resource: Any, ids: Iterable[K], **options: Unpack[LoadOptions]) -> dict[K, Any]:
        """Return many things by their ids with one call, as :meth:`ServiceClient.load`."""
        how, loading = self._loading(resource, ids)
        for query in loading.batches():
            items = self.items(how.path, how.item, params=query, fallback=UNSET, **options)
            loading.take([one async for one in items])
        return loading.result()


@async_unsafe("ServiceClient waits, which would stop the event loop: use AsyncServiceClient, or sync_to_async.")
def _refuse_to_wait() -> None:
    """Raise Django's own error, unless it is told to let such things happen."""


def call_service(
    service: str,
    endpoint: str,
    method: str = "GET",
    data: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Make one call and return the decoded JSON body, or None if there is none.

    Raises:
        ServiceCallError, DeadlineExceeded: as :meth:`ServiceClient.request`.
    """
    answer = ServiceClient(service).request(method.upper(), endpoint, json=data, headers=headers)
    return answer.json() if answer.content else None


def services_with_clients() -> set[str]:
    """Return the names of the services for which a client was made in this process."""
    return set(_services)
