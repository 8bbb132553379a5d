"""What ServiceClient costs beside the bare library, and what keeping connections gains over a new one for each call.

One call is a GET of 1 kB JSON over loopback, decoded, at 1 and at 8 threads. Three servers answer, each from a process
of its own: one that sends fixed bytes, so that the client is nearly all that is measured; granian with a WSGI function,
which is the least that a service takes; and a service of Bandstand on granian, with the middleware and the REST
framework of the shop's, which is what a call between services really meets. "pycurl bare" sends nothing of its own and
sets nothing between calls; "pycurl same request" sets what differs from call to call as ServiceClient must: URL,
headers and time limits. `requests.get`, without a session, is the tutorial's way. All ways take turns in short rounds,
so that whatever else the machine does hits all of them alike; figures are medians, and the time that the processor
spends on the client is told beside, which a busy machine changes least. Prints tables and one JSON object a line.
Takes about a minute.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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

BODY = json.dumps({"id": "0190163d-8694-739b-aea5-966c26f8ad91", "text": "x" * 964}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
BUDGET = 5.0  # seconds for one server and one number of threads
THREADS = (1, 8)
ROUND = {1: 200, 8: 50}  # calls of one thread in one round

BARE = "pycurl bare"
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
        "fixed bytes": server,
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
        "pycurl same request": same_request,
        "ServiceClient": lambda: client.get("/api/v1/users/1/").json(),
        "requests.Session": lambda: kept(local, requests.Session).get(url, timeout=5).json(),
        "requests.get": lambda: requests.get(url, timeout=5).json(),
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
        self._way, self._calls = way, calls
        self._gate = threading.Barrier(size + 1)
        self.latencies: list[float] = []
        self.rates: list[float] = []
        self.processor: list[float] = []
        self._size = size
        for _ in range(size):
            threading.Thread(target=self._work, daemon=True).start()
        self.round()
        self.latencies.clear()  # the first round makes the connections
        self.rates.clear()
        self.processor.clear()

    def _work(self) -> None:
        from bandstand.context import bind, new_context

        with bind(new_context()):  # as in a request
            while True:
                self._gate.wait()
                before = time.thread_time()
                try:
                    self.latencies.extend(self._calls_of_a_round())
                except BaseException:
                    self._gate.abort()  # nobody waits for a thread that will not come
                    raise
                self.processor.append((time.thread_time() - before) / self._calls)
                self._gate.wait()

    def _calls_of_a_round(self) -> list[float]:
        way, clock = self._way, time.perf_counter
        taken = []
        for _ in range(self._calls):
            began = clock()
            way()
            taken.append(clock() - began)
        return taken

    def round(self) -> None:
        self._gate.wait()
        began = time.perf_counter()
        self._gate.wait()
        self.rates.append(self._size * self._calls / (time.perf_counter() - began))


def check(found: dict[str, Way]) -> None:
    """Refuse to compare ways that do not bring the same."""
    for name, way in found.items():
        if way() != json.loads(BODY):
            raise RuntimeError(f"{name} brought something else")


def measure(found: dict[str, Way], size: int, seconds: float) -> dict[str, tuple[float, ...]]:
    """Return of each way the median latency (µs), throughput (calls a second) and processor time (µs)."""
    crews = {name: Crew(way, size, ROUND[size]) for name, way in found.items()}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for crew in crews.values():
            crew.round()
    return {
        name: (
            statistics.median(crew.latencies) * 1e6,
            statistics.median(crew.rates),
            statistics.median(crew.processor) * 1e6,
        )
        for name, crew in crews.items()
    }


async def measure_async(port: int, seconds: float) -> dict[str, tuple[float, ...]]:
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

        taken: dict[str, list[float]] = {"aiohttp bare": [], "AsyncServiceClient": []}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, way in (("aiohttp bare", bare), ("AsyncServiceClient", ours)):
                for _ in range(50):
                    began = time.perf_counter()
                    await way()
                    taken[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    return {name: (seconds * 1e6, 1 / seconds) for name, seconds in medians.items()}


UNITS = ("us", "calls/s", "us of processor")


def show(title: str, figures: dict[str, tuple[float, ...]], base: str) -> list[dict[str, Any]]:
    """Print one table and return its lines for machines; ratios are to ``base``."""
    print(f"\n{title:28} {'median µs':>10} {'ratio':>6} {'calls/s':>9} {'ratio':>6} {'processor µs':>13} {'ratio':>6}")
    lines = []
    for name, values in figures.items():
        ratios = [value / usual for value, usual in zip(values, figures[base], strict=True)]
        cells = zip((10, 9, 13), values, ratios, strict=False)
        print(f"{name:28} " + " ".join(f"{value:{width}.1f} {ratio:6.2f}" for width, value, ratio in cells))
        for unit, value, ratio in zip(UNITS, values, ratios, strict=False):
            label = f"client.{title}.{name}".replace(", ", ".").replace(" ", "_")
            lines.append(
                {"name": label, "value": round(value, 1), "unit": unit, "ratio_to": base, "ratio": round(ratio, 3)}
            )
    return lines


def main() -> None:
    """Measure, print, and say the machine."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(f"machine: {machine}, {pycurl.version.split(' ')[1]}, load {os.getloadavg()[0]:.1f}")
    lines = []
    with identity() as keys:
        for name, kind in servers(keys).items():
            with kind() as port:
                settings.BANDSTAND = {
                    "SERVICE": "benchmark",
                    "IDENTITY": {"SERVICE_KEY_FILE": str(keys / "key.json")},
                    "DISCOVERY": {"URL": f"static:user-service=http://127.0.0.1:{port}"},
                }
                setting_changed.send(main, setting="BANDSTAND", value=settings.BANDSTAND, enter=True)
                check(ways(port))
                for size in THREADS:
                    title = f"{name}, {size} thread{'s' if size > 1 else ''}"
                    lines += show(title, measure(ways(port), size, BUDGET), BARE)
                lines += show(f"{name}, 1 task", asyncio.run(measure_async(port, BUDGET / 2)), "aiohttp bare")
    print()
    for line in lines:
        print(json.dumps(line))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
