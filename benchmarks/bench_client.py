"""What ServiceClient costs beside the bare library, and what keeping connections gains over a new one for each call.

One call is a GET of 1 kB JSON over loopback, decoded, at 1 and at 8 threads. Two servers answer, each from a process of
its own: one that sends fixed bytes, so that the client is nearly all that is measured, and granian with a WSGI
function, which is the least that a service takes. "pycurl bare" sends nothing of its own and sets nothing between
calls; "pycurl same request" sets what differs from call to call as ServiceClient must: URL, headers and time limits.
All ways take turns in short rounds, so that whatever else the machine does hits all of them alike; figures are medians,
and the time that the processor spends on the client is told beside, which a busy machine changes least.
`pip install requests httpx` measures them too; else the standard library with a new connection for each call stands for
the tutorial's `requests.get`. Prints tables and one JSON object a line. Takes about 30 s.
"""

import asyncio
import http.client
import importlib
import json
import multiprocessing
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pycurl
from django.conf import settings
from django.core.signals import setting_changed

BODY = json.dumps({"id": "0190163d-8694-739b-aea5-966c26f8ad91", "text": "x" * 964}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
BUDGET = 5.0  # seconds for one server and one number of threads
THREADS = (1, 8)
ROUND = {1: 200, 8: 50}  # calls of one thread in one round

BARE = "pycurl bare"
# As long as those of ServiceClient, whose token has about 280 characters.
HEADERS = [
    "Accept: application/json, application/problem+json",
    "User-Agent: benchmark bandstand/0.1.0",
    "X-Correlation-ID: 0190163d8694739baea5966c26f8ad91",
    "traceparent: 00-0190163d8694739baea5966c26f8ad91-0190163d8694739b-00",
    "X-Request-Timeout-Ms: 1000",
    f"X-Service-Token: {'x' * 280}",
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
def granian() -> Iterator[int]:
    """Run the web server of the platform with that application and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "bench_client:application", "--interface", "wsgi", "--http", "1"]
    options = ["--no-ws", "--port", str(port), "--blocking-threads", "8", "--log-level", "error"]
    process = subprocess.Popen([*command, *options], cwd=Path(__file__).parent)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def identity() -> Iterator[dict[str, Any]]:
    """Give the client a key, so that its calls carry a token as in production."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.json"
        settings.configure(BANDSTAND={"SERVICE": "benchmark"})
        from bandstand.identity import generate_key

        path.write_text(json.dumps(generate_key("benchmark").to_jwk()))
        path.chmod(0o600)
        yield {"SERVICE_KEY_FILE": str(path)}


def ways(port: int) -> dict[str, Way]:
    """Each way to make the call; what a thread needs for itself it makes at its first call."""
    from bandstand.client import ServiceClient

    url = f"http://127.0.0.1:{port}/api/v1/users/1/"
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
        handle.setopt(pycurl.HTTPHEADER, HEADERS)
        handle.setopt(pycurl.TIMEOUT_MS, 1000)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, 500)
        body = handle.perform_rb()
        if handle.getinfo(pycurl.RESPONSE_CODE) != 200:
            raise RuntimeError("no answer")
        return msgspec.json.decode(body)

    client = ServiceClient("user-service")

    def ours() -> object:
        return client.get("/api/v1/users/1/").json()

    def new_connection() -> object:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/v1/users/1/")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    found: dict[str, Way] = {BARE: bare, "pycurl same request": same_request, "ServiceClient": ours}
    return found | (installed_peers(url, local) or {"new connection each": new_connection})


def installed_peers(url: str, local: threading.local) -> dict[str, Way]:
    peers: dict[str, Way] = {}
    if requests := optional("requests"):

        def session() -> object:
            if not hasattr(local, "session"):
                local.session = requests.Session()
            return local.session.get(url, timeout=5).json()

        peers["requests.Session"] = session
        peers["requests.get"] = lambda: requests.get(url, timeout=5).json()
    if httpx := optional("httpx"):

        def httpx_client() -> object:
            if not hasattr(local, "httpx"):
                local.httpx = httpx.Client()
            return local.httpx.get(url).json()

        peers["httpx.Client"] = httpx_client
    return peers


def optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


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
                self.latencies.extend(self._calls_of_a_round())
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
        for name, kind in (("fixed bytes", server), ("granian", granian)):
            with kind() as port:
                settings.BANDSTAND = {
                    "SERVICE": "benchmark",
                    "IDENTITY": keys,
                    "DISCOVERY": {"URL": f"static:user-service=http://127.0.0.1:{port}"},
                }
                setting_changed.send(main, setting="BANDSTAND", value=settings.BANDSTAND, enter=True)
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
