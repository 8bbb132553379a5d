"""The cost of a call by ServiceClient beside the bare library, and what keeping connections gains.

One call is a GET of 1 kB JSON over loopback, decoded, at 1 and at 8 threads. Three servers answer, each from a process
of its own: one that sends fixed bytes, so that the client is nearly all that is measured; granian with a WSGI function,
which is the least that a service takes; and a service of Bandstand on granian, with the middleware and the REST
framework of the shop's, which is what a call between services really meets.

"pycurl bare" keeps its connection, sends nothing of its own and sets nothing between calls: it is what ServiceClient is
judged by, by time and by processor time. "pycurl same request" sets what differs from call to call as ServiceClient
must: URL, headers and time limits. `requests.get`, without a session, is the tutorial's way. All ways take turns in
short rounds, so that whatever else the machine does meets all of them alike; a ratio is that of two rounds beside each
other. Where a server has to be woken for each call its latency hides the client's, so read the ratios at fixed bytes,
and the processor time. Takes about a minute and a half.
"""

import asyncio
import json
import multiprocessing
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import pycurl
import requests
from django.conf import settings
from django.core.signals import setting_changed

from report import Cost, Report, at_least, at_most, parser, reading

BODY = json.dumps({"id": "0190163d-8694-739b-aea5-966c26f8ad91", "text": "x" * 964}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
BUDGET = 8.0  # seconds for one server and one number of threads
THREADS = (1, 8)
ROUND = {1: 200, 8: 50}  # calls of one thread in one round
QUICK_ROUND = 5

BARE, OURS, TUTORIAL = "pycurl_bare", "ServiceClient", "requests.get"
RATIO = at_most(1.25)  # of the bare library, by time and by processor time
GAIN = {1: at_least(5), 8: at_least(12)}  # calls a second in those of `requests.get`, by the number of threads
# What ServiceClient sends, but for the token.
HEADERS = [
    "Host: user-service",
    "Accept: application/json, application/problem+json",
    "User-Agent: benchmark bandstand/0.1.0",
    "X-Correlation-ID: 0190163d8694739baea5966c26f8ad91",
    "traceparent: 00-0190163d8694739baea5966c26f8ad91-0190163d8694739b-00",
    "X-Request-Timeout-Ms: 1000",
]

Way = Callable[[], object]


def answer(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while connection.recv(65536):
            connection.sendall(ANSWER)


def accept(listener: socket.socket) -> None:
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


@contextmanager
def server() -> Iterator[int]:
    """Run the server in a process of its own and return its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        process = multiprocessing.get_context("fork").Process(target=accept, args=(listener,), daemon=True)
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Answer the same as a WSGI application."""
    del environ
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


@contextmanager
def granian(application: str, environment: Mapping[str, str]) -> Iterator[int]:
    """Run the web server of the platform with that application, as `bandstand up` does, and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", application, "--interface", "wsgi", "--http", "1", "--no-ws"]
    options = ["--port", str(port), "--workers", "1", "--blocking-threads", "8", "--log-level", "error"]
    # Its log goes to a file, as under `bandstand up`.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, *options], cwd=Path(__file__).parent, env={**os.environ, **environment}, stderr=log
        )
        try:
            while process.poll() is None:
                with suppress(requests.ConnectionError):
                    requests.get(f"http://127.0.0.1:{port}/api/v1/users/1/", timeout=30).raise_for_status()
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextmanager
def identity() -> Iterator[Path]:
    """Give the client a key, so that its calls carry a token as in production, and the service what it trusts."""
    with tempfile.TemporaryDirectory() as folder:
        settings.configure(BANDSTAND={"SERVICE": "benchmark"})
        from bandstand.identity import generate_key, key_set

        key, own, trusted = generate_key("benchmark"), Path(folder) / "key.json", Path(folder) / "trusted.json"
        own.write_text(json.dumps(key.to_jwk()))
        own.chmod(0o600)
        trusted.write_text(json.dumps(key_set([key.public])))
        yield Path(folder)


def servers(keys: Path) -> dict[str, Callable[[], AbstractContextManager[int]]]:
    """Each kind of server, from the least to the usual. The service has no database: none of its requests asks one."""
    service = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "127.0.0.1,user-service",
        "DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/none",
        "CACHE_URL": "redis://127.0.0.1:1",
        "BROKER_URL": "nats://127.0.0.1:1",
        "BANDSTAND_TRUSTED_KEYS_FILE": str(keys / "trusted.json"),
        "BANDSTAND_ALLOWED_CALLERS": "benchmark",
    }
    return {
        "fixed_bytes": server,
        "granian": partial(granian, "bench_client:application", {}),
        "service": partial(granian, "user_service.wsgi:application", service),
    }


def ways(port: int) -> dict[str, Way]:
    """Each way to make the call; what a thread needs for itself it makes at its first call."""
    from bandstand.client import ServiceClient
    from bandstand.identity import service_token

    url = f"http://127.0.0.1:{port}/api/v1/users/1/"
    headers = [*HEADERS, f"X-Service-Token: {service_token('user-service')}"]
    client = ServiceClient("user-service")
    local = threading.local()

    def bare() -> object:
        handle = getattr(local, "handle", None)
        if handle is None:
            handle = local.handle = pycurl.Curl()
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.NOSIGNAL, 1)
        return msgspec.json.decode(handle.perform_rb())

    def same_request() -> object:
        handle = getattr(local, "same", None)
        if handle is None:
            handle = local.same = pycurl.Curl()
            handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.HTTPHEADER, headers)
        handle.setopt(pycurl.TIMEOUT_MS, 1000)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, 500)
        body = handle.perform_rb()
        if handle.getinfo(pycurl.RESPONSE_CODE) != 200:
            raise RuntimeError("no answer")
        return msgspec.json.decode(body)

    return {
        BARE: bare,
        "pycurl_same_request": same_request,
        OURS: lambda: client.get("/api/v1/users/1/").json(),
        "requests.Session": lambda: kept(local, requests.Session).get(url, timeout=5).json(),
        TUTORIAL: lambda: requests.get(url, timeout=5).json(),
        "httpx.Client": lambda: kept(local, httpx.Client).get(url).json(),
    }


def kept(local: threading.local, make: Callable[[], Any]) -> Any:
    """Return what this thread made at its first call."""
    made = local.__dict__
    if make not in made:
        made[make] = make()
    return made[make]


class Crew:
    """Threads that stay, as a server's do, so that kept connections are kept."""

    def __init__(self, way: Way, size: int, calls: int) -> None:
        self._way, self._size, self._calls = way, size, calls
        self._gate = threading.Barrier(size + 1)
        self._costs: list[Cost] = []
        self.latencies: list[float] = []
        self.medians: list[float] = []
        self.processor: list[float] = []
        self.rates: list[float] = []
        for _ in range(size):
            threading.Thread(target=self._work, daemon=True).start()
        self._run()  # the first round makes the connections

    def _work(self) -> None:
        from bandstand.context import bind, new_context

        with bind(new_context()):  # as in a request
            while True:
                self._gate.wait()
                try:
                    self._costs.extend(self._calls_of_a_round())
                except BaseException:
                    self._gate.abort()  # nobody waits for a thread that will not come
                    raise
                self._gate.wait()

    def _calls_of_a_round(self) -> list[Cost]:
        """Make the calls; each has its own time, and its part of the thread's processor time."""
        way, clock, before = self._way, time.perf_counter, time.thread_time()
        taken = []
        for _ in range(self._calls):
            began = clock()
            way()
            taken.append(clock() - began)
        processor = (time.thread_time() - before) / self._calls
        return [Cost(seconds, processor) for seconds in taken]

    def _run(self) -> tuple[float, list[Cost]]:
        self._costs = []
        self._gate.wait()
        began = time.perf_counter()
        self._gate.wait()
        return time.perf_counter() - began, self._costs

    def round(self) -> None:
        """Make the calls of each thread, and note them."""
        seconds, costs = self._run()
        times = [1e6 * cost.seconds for cost in costs]
        self.latencies += times
        self.medians.append(statistics.median(times))
        self.processor.append(statistics.fmean(cost.processor for cost in costs))
        self.rates.append(self._size * self._calls / seconds)


def check(found: dict[str, Way]) -> None:
    """Refuse to compare ways that do not bring the same."""
    for name, way in found.items():
        if way() != json.loads(BODY):
            raise RuntimeError(f"{name} brought something else")


def measure(found: dict[str, Way], size: int, calls: int, budget: float) -> dict[str, Crew]:
    """Measure all ways in turns for ``budget`` seconds, and at least once."""
    crews = {name: Crew(way, size, calls) for name, way in found.items()}
    end = time.monotonic() + budget
    while True:
        for crew in crews.values():
            crew.round()
        if time.monotonic() >= end:
            return crews


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Divide round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def add(report: Report, title: str, size: int, crews: dict[str, Crew]) -> None:
    """Report the calls of one server at one number of threads."""
    bare, ours, tutorial = crews[BARE], crews[OURS], crews[TUTORIAL]
    for name, crew in crews.items():
        beside = None if crew is bare else (BARE, bare.latencies)
        report.add(f"{title}.{name}", crew.latencies, "µs", processor=statistics.median(crew.processor), to=beside)
    name = f"{title}.{OURS}"
    report.add(f"{name}.time_ratio", ratios(ours.medians, bare.medians), "of bare", target=RATIO)
    report.add(f"{name}.processor_ratio", ratios(ours.processor, bare.processor), "of bare", target=RATIO)
    report.add(f"{name}.rate", ours.rates, "calls/s", to=(TUTORIAL, tutorial.rates))
    report.add(f"{name}.gain", ratios(ours.rates, tutorial.rates), "of get", target=GAIN[size])


class Turns:
    """Calls of one coroutine function, in rounds."""

    def __init__(self, way: Callable[[], Awaitable[object]]) -> None:
        self._way = way
        self.latencies: list[float] = []
        self.medians: list[float] = []
        self.processor: list[float] = []

    async def round(self, calls: int) -> None:
        """Make the calls one after the other, and note them."""
        costs = []
        for _ in range(calls):
            began = reading()
            await self._way()
            costs.append(reading() - began)
        times = [1e6 * cost.seconds for cost in costs]
        self.latencies += times
        self.medians.append(statistics.median(times))
        self.processor.append(statistics.fmean(cost.processor for cost in costs))


async def measure_async(port: int, calls: int, budget: float) -> dict[str, Turns]:
    """Do the same for one task with aiohttp, bare and under AsyncServiceClient."""
    from bandstand.client import AsyncServiceClient

    url = f"http://127.0.0.1:{port}/api/v1/users/1/"
    client = AsyncServiceClient("user-service")
    timeout = aiohttp.ClientTimeout(total=1)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def bare() -> object:
            async with session.get(url) as response:
                return msgspec.json.decode(await response.read())

        async def ours() -> object:
            return (await client.get("/api/v1/users/1/")).json()

        found = {"aiohttp_bare": Turns(bare), "AsyncServiceClient": Turns(ours)}
        for turns in found.values():
            await turns.round(1)  # the first call makes the connection
        end = time.monotonic() + budget
        while True:
            for turns in found.values():
                await turns.round(calls)
            if time.monotonic() >= end:
                return found


def add_async(report: Report, title: str, found: dict[str, Turns]) -> None:
    """Report the calls of one task."""
    bare, ours = found.values()
    for name, turns in found.items():
        beside = None if turns is bare else ("aiohttp_bare", bare.latencies)
        report.add(f"{title}.{name}", turns.latencies, "µs", processor=statistics.median(turns.processor), to=beside)
    name = f"{title}.AsyncServiceClient"
    report.add(f"{name}.time_ratio", ratios(ours.medians, bare.medians), "of bare", target=RATIO)
    report.add(f"{name}.processor_ratio", ratios(ours.processor, bare.processor), "of bare", target=RATIO)


def use(port: int, keys: Path) -> None:
    """Point discovery at the server on that port."""
    settings.BANDSTAND = {
        "SERVICE": "benchmark",
        "IDENTITY": {"SERVICE_KEY_FILE": str(keys / "key.json")},
        "DISCOVERY": {"URL": f"static:user-service=http://127.0.0.1:{port}"},
    }
    setting_changed.send(main, setting="BANDSTAND", value=settings.BANDSTAND, enter=True)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    print(f"with {pycurl.version.split(' ')[1]}")
    budget = 0 if report.quick else BUDGET
    with identity() as keys:
        for name, kind in servers(keys).items():
            with kind() as port:
                use(port, keys)
                check(ways(port))
                for size in THREADS:
                    calls = QUICK_ROUND if report.quick else ROUND[size]
                    title = f"client.{name}.{size}_thread{'s' if size > 1 else ''}"
                    add(report, title, size, measure(ways(port), size, calls, budget))
                calls = QUICK_ROUND if report.quick else 50
                found = asyncio.run(measure_async(port, calls, budget / 2))
                add_async(report, f"client.{name}.1_task", found)
    report.end()


if __name__ == "__main__":
    main()
