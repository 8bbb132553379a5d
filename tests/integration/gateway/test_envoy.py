"""What only Envoy does: it reads its configuration from files, and changes while it runs."""

import http.client
import json
import operator
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from bandstand.testing.gateway import GatewayClient, Upstream
from bandstand.workspace.export.envoy import Endpoint, Health
from bandstand.workspace.manifest import Workspace, parse
from tests.integration.gateway.certificates import certificate
from tests.integration.gateway.envoy_process import (
    WORKERS,
    Envoy,
    deployed_envoy,
    running_envoy,
    validate,
    validate_deployed,
)
from tests.ports import held_port
from tests.waiting import GUARD, until

pytestmark = pytest.mark.integration

SHOP = Path(__file__).parents[3] / "shop" / "bandstand.toml"
MANIFEST = """
[platform]
name = "shop"

[gateway]
rate_limit = { minute = 1000000, hour = 10000000 }

[services.user-service]

[[services.user-service.routes]]
path = "/api/v1/users"

[[services.user-service.routes]]
path = "/api/v1/users/limited"
rate_limit = { minute = 3, hour = 3 }
"""


@pytest.fixture
def first() -> Iterator[Upstream]:
    with Upstream("first") as upstream:
        yield upstream


@pytest.fixture
def second() -> Iterator[Upstream]:
    with Upstream("second") as upstream:
        yield upstream


@pytest.fixture
def envoy(tmp_path: Path, first: Upstream) -> Iterator[Envoy]:
    """A gateway whose user-service is the instance ``first``."""
    with running_envoy(parse(MANIFEST), tmp_path, {"user-service": (Endpoint(port=first.port),)}) as running:
        yield running


def serving(client: GatewayClient, path: str = "/api/users/") -> str:
    answer = client.get(path)
    return str(answer.json()["service"]) if answer.status == 200 else str(answer.status)


class Load:
    """Asks for ``paths`` without a pause from several threads, for a ``with`` block; what fails is kept."""

    def __init__(self, client: GatewayClient, *paths: str, threads: int = 4) -> None:
        self.failed: list[object] = []
        self._client, self._paths = client, paths
        self._rounds = [0] * threads
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pass_by(self, rounds: int = 2) -> None:
        """Wait until each thread has asked for all paths so many times more: what was in flight has ended by then."""
        wanted = [done + rounds for done in self._rounds]
        until(lambda: all(map(operator.ge, self._rounds, wanted)), "the load to go on")

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            for path in self._paths:
                try:
                    answer = self._client.get(path)
                    self.failed += [answer] if answer.status != 200 else []
                except Exception as error:  # noqa: BLE001 - whatever fails is counted
                    self.failed.append(error)
            self._rounds[number] += 1


# --- what Envoy thinks of the rendering ----------------------------------------------------------


def test_envoy_accepts_the_shop(tmp_path: Path) -> None:
    """The shop's own manifest becomes a configuration without an unknown field, an error or a warning."""
    workspace = parse(SHOP.read_text())
    endpoints = {name: (Endpoint(port=9000),) for name in workspace.service_names}
    assert validate(workspace, tmp_path, endpoints) == ""


def test_envoy_accepts_a_platform_without_routes(tmp_path: Path) -> None:
    """A platform that has just begun has a gateway too."""
    assert validate(parse('platform.name = "new"\nservices.a-service = {}'), tmp_path, {}) == ""


def test_envoy_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """The check is worth something: an origin that is no text is found."""
    workspace = parse(MANIFEST)
    gateway = msgspec.structs.replace(workspace.gateway, cors_origins=({"no": "text"},))  # type: ignore[arg-type]
    assert "exact" in validate(msgspec.structs.replace(workspace, gateway=gateway), tmp_path, {})


@pytest.mark.parametrize("form", ["files", "static"])
def test_envoy_accepts_the_deployed_shop(tmp_path: Path, form: str) -> None:
    """What `bandstand export envoy` writes has no unknown field, error or warning, in both forms and with TLS."""
    certificate(tmp_path)
    manifest = SHOP.read_text() + f'\n[production.envoy]\nform = "{form}"\ntls = "{tmp_path}"\n'
    assert validate_deployed(parse(manifest), tmp_path) == ""


# --- as it is deployed ---------------------------------------------------------------------------


def test_a_deployed_gateway_shows_readiness_and_metrics(tmp_path: Path, first: Upstream) -> None:
    """To the network, on a port of their own; nothing else of Envoy's own pages is there."""
    endpoints = {"user-service": (Endpoint(host="localhost", port=first.port),)}
    with deployed_envoy(parse(MANIFEST), tmp_path, endpoints) as envoy:
        status = GatewayClient(f"http://127.0.0.1:{envoy.runtime.status_port}")
        assert status.get("/ready").status == 200
        metrics = status.get("/stats/prometheus").body
        for name in (b"envoy_cluster_membership_healthy", b"envoy_cluster_upstream_rq_pending_overflow"):
            assert name + b'{envoy_cluster_name="user-service"}' in metrics
        for page in ("/", "/stats", "/clusters", "/drain_listeners", "/quitquitquit", "/config_dump"):
            assert status.get(page).status == 404, page


def test_a_deployed_gateway_sees_who_is_ready(tmp_path: Path, first: Upstream) -> None:
    """An instance that says 503 under /health/ready/ gets no more requests, and comes back when it says 200."""
    endpoints = {"user-service": (Endpoint(host="localhost", port=first.port),)}
    with deployed_envoy(parse(MANIFEST), tmp_path, endpoints) as envoy:
        assert serving(envoy.client) == "first"
        first.status = 503
        until(lambda: envoy.statistic("cluster.user-service.membership_healthy") == 0, "the instance to be out")
        first.status = 200
        until(lambda: serving(envoy.client) == "first", "the first instance")


def test_a_deployed_gateway_speaks_tls(tmp_path: Path, first: Upstream) -> None:
    """With the certificate of its folder; the service learns that the client was safe."""
    certificate(tmp_path)
    manifest = MANIFEST + f'\n[production.envoy]\ntls = "{tmp_path}"\n'
    endpoints = {"user-service": (Endpoint(host="localhost", port=first.port),)}
    with deployed_envoy(parse(manifest), tmp_path, endpoints) as envoy:
        context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        connection = http.client.HTTPSConnection("localhost", envoy.port, timeout=GUARD, context=context)
        connection.request("GET", "/api/users/")
        seen = json.loads(connection.getresponse().read())
        connection.close()
    assert ["x-forwarded-proto", "https"] in seen["headers"]


# --- health and routes, live ---------------------------------------------------------------------


def test_a_new_instance_is_used_at_once(envoy: Envoy, second: Upstream) -> None:
    """A change of endpoints takes effect, and nothing else is read again."""
    assert serving(envoy.client) == "first"
    envoy.tell_endpoints(user_service=(Endpoint(port=second.port),))
    until(lambda: serving(envoy.client) == "second", "the second instance")
    assert envoy.statistic("cluster_manager.cds.update_attempt") == 1


@pytest.mark.parametrize("health", [Health.DRAINING, Health.UNHEALTHY])
def test_an_instance_that_is_not_healthy_gets_no_requests(
    envoy: Envoy, first: Upstream, second: Upstream, health: Health
) -> None:
    """The supervisor's word on health is the gateway's, in both directions."""
    healthy = Endpoint(port=second.port)
    envoy.tell_endpoints(user_service=(Endpoint(port=first.port, health=health), healthy))
    until(lambda: serving(envoy.client) == "second", "the second instance")
    assert {serving(envoy.client) for _ in range(20)} == {"second"}
    envoy.tell_endpoints(user_service=(Endpoint(port=first.port), healthy))
    until(lambda: serving(envoy.client) == "first", "the first instance")


def test_the_last_instance_can_go_and_come_back(envoy: Envoy, first: Upstream) -> None:
    """Without an instance the gateway answers 503 itself; it does not try an unhealthy one in a panic."""
    envoy.tell_endpoints(user_service=(Endpoint(port=first.port, health=Health.UNHEALTHY),))
    until(lambda: serving(envoy.client) == "503", "the instance to be out")
    envoy.tell_endpoints(user_service=())
    assert serving(envoy.client) == "503"
    envoy.tell_endpoints(user_service=(Endpoint(port=first.port),))
    until(lambda: serving(envoy.client) == "first", "the first instance")


def test_replacing_an_instance_fails_no_request(envoy: Envoy, first: Upstream) -> None:
    """Ten new instances under load, each told before the old one ends: clients notice nothing."""
    current = first
    with Load(envoy.client, "/api/users/", "/api/v1/users/?sleep=0.02") as load:
        for number in range(10):
            replacement = Upstream(f"replacement-{number}")
            envoy.tell_endpoints(user_service=(Endpoint(port=replacement.port),))
            until(lambda name=replacement.name: serving(envoy.client) == name, "the replacement")  # type: ignore[misc]
            load.pass_by()
            current.__exit__()
            current = replacement
    current.__exit__()
    assert load.failed == []


def test_new_routes_fail_no_request(envoy: Envoy) -> None:
    """Routes, origins and limits change under load; clients of the other routes notice nothing."""
    extended = MANIFEST + '\n[[services.user-service.routes]]\npath = "/api/v1/extra"\n'
    stricter = extended.replace("[gateway]", '[gateway]\ncors_origins = ["https://a.example"]\ntimeout = 5.0')
    with Load(envoy.client, "/api/users/", "/api/v1/users/7/") as load:
        for _ in range(8):
            envoy.tell_routes(parse(extended))
            until(lambda: serving(envoy.client, "/api/extra/") == "first", "the new route")
            envoy.tell_routes(parse(stricter))
            load.pass_by()
            envoy.tell_routes(parse(MANIFEST))
            until(lambda: serving(envoy.client, "/api/extra/") == "404", "the old routes")
            load.pass_by()
    assert load.failed == []
    assert envoy.statistic("http.public.rds.public.update_rejected") == 0
    assert envoy.statistic("listener_manager.lds.update_rejected") == 0


def test_new_routes_give_no_new_allowance(envoy: Envoy) -> None:
    """Buckets outlive a change of routes: saving a file does not forget who asked too often."""
    assert [envoy.client.get("/api/users/limited/").status for _ in range(4)] == [200, 200, 200, 429]
    envoy.tell_routes(parse(MANIFEST + '\n[[services.user-service.routes]]\npath = "/api/v1/extra"\n'))
    until(lambda: serving(envoy.client, "/api/extra/") == "first", "the new route")
    assert envoy.client.get("/api/users/limited/").status == 429


def test_wrong_routes_leave_the_old_ones(envoy: Envoy) -> None:
    """Routes to a service that is not known, or files that are no JSON, change nothing."""
    routes = envoy.folder / "rds.json"
    wrong = routes.read_text().replace('"cluster": "user-service"', '"cluster": "nobody"')
    for reason, content in (("rejected", wrong), ("failure", "{ broken")):
        temporary = envoy.folder / "new"
        temporary.write_text(content)
        temporary.replace(routes)
        counter = f"http.public.rds.public.update_{reason}"
        until(lambda counter=counter: envoy.statistic(counter) == 1, "it to be read")  # type: ignore[misc]
        assert serving(envoy.client) == "first"


# --- faults of services --------------------------------------------------------------------------


def test_an_instance_that_keeps_failing_is_left_out(envoy: Envoy, first: Upstream) -> None:
    """After five 503 in a row of one instance, writes too go to the other alone."""
    with Upstream("failing", status=503) as failing:
        envoy.tell_endpoints(user_service=(Endpoint(port=first.port), Endpoint(port=failing.port)))
        until(lambda: envoy.client.post("/api/users/").status == 503, "the failing instance")
        until(lambda: {envoy.client.post("/api/users/").status for _ in range(20)} == {200}, "it to be left out")
        assert failing.calls.total() >= 5


def test_an_instance_that_answers_500_stays(envoy: Envoy, first: Upstream) -> None:
    """A fault in the code is the same in every instance; leaving one out would only double the load."""
    with Upstream("buggy", status=500) as buggy:
        envoy.tell_endpoints(user_service=(Endpoint(port=first.port), Endpoint(port=buggy.port)))
        until(lambda: envoy.client.post("/api/users/").status == 500, "the buggy instance")
        statuses = [envoy.client.post("/api/users/").status for _ in range(40)]
        assert 500 in statuses[-20:]
        assert envoy.statistic("cluster.user-service.outlier_detection.ejections_active") == 0


def test_a_killed_instance_is_not_noticed_by_readers(envoy: Envoy, first: Upstream) -> None:
    """Before the supervisor knows, reads go on to the other instance."""
    envoy.tell_endpoints(user_service=(Endpoint(port=held_port()), Endpoint(port=first.port)))
    until(lambda: envoy.statistic("cluster.user-service.membership_total") == 2, "both instances to be known")
    assert {envoy.client.get("/api/users/").status for _ in range(40)} == {200}


# --- clients that do not speak -------------------------------------------------------------------


def test_a_client_that_sends_its_headers_slowly_is_sent_away(envoy: Envoy) -> None:
    """Connections are not held open by a byte now and then: it is answered although it never ends its headers."""
    answer = envoy.client.raw(b"GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
    assert envoy.statistic("http.public.downstream_rq_header_timeout") == 1, "not for another reason, much later"


# --- the log -------------------------------------------------------------------------------------


def log_lines(envoy: Envoy, count: int) -> list[dict[str, object]]:
    """Wait until ``count`` requests are logged; every line must be JSON."""
    until(lambda: envoy.log.read_bytes().count(b"\n") >= count, "the lines of the log")
    return [json.loads(line) for line in envoy.log.read_text(encoding="utf-8").splitlines()]


def test_a_request_is_one_line_of_json(envoy: Envoy) -> None:
    """The line names who, what and how long, by the same keys as the services' lines."""
    envoy.client.get("/api/users/7/?token=s3cret", headers={"X-Correlation-ID": "find-me-1"})
    [line] = log_lines(envoy, 1)
    expected = {
        "level": "INFO",
        "service": "gateway",
        "correlation_id": "find-me-1",
        "method": "GET",
        "path": "/api/users/7/",
        "status": 200,
        "client": "127.0.0.1",
        "route": "user-service:/api/users",
        "attempts": 1,
    }
    assert {name: line[name] for name in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["ts"]))
    assert "s3cret" not in envoy.log.read_text()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b'GET /api/users/"},{"status":200 HTTP/1.1\r\nHost: x\r\n\r\n',
        b"GET /api/users/\xff\xfe%0a%0d HTTP/1.1\r\nHost: x\r\n\r\n",
        b'GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: \xff\xfe"}\r\n\r\n',
        b"GET /api/users/ HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: \x1b[31mred\r\n\r\n",
        b"GET /api/users/..%2f HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: \xc3\x28{}\r\n\r\n",
        b"B\xffD / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["quotes", "no UTF-8", "no UTF-8 in the id", "escape", "refused early", "method"],
)
def test_a_hostile_request_is_one_line_of_json_too(envoy: Envoy, request_bytes: bytes) -> None:
    """Nothing that a client sends can break the log or forge a line in it."""
    envoy.client.raw(request_bytes)
    assert len(log_lines(envoy, 1)) == 1


# --- the door and its keys -----------------------------------------------------------------------


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_nobody_else_listens_on_its_port(envoy: Envoy, option: int) -> None:
    """A server that was started by hand on the same port is refused: it would get some of the requests."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, option, 1)
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", envoy.port))


def test_all_its_workers_get_connections(envoy: Envoy) -> None:
    """They share the one port: whichever is free takes the next connection."""

    def taken() -> set[int]:
        with ThreadPoolExecutor(8) as pool:
            assert {answer.status for answer in pool.map(envoy.client.get, ["/api/users/"] * 16)} == {200}
        name = f"listener.127.0.0.1_{envoy.port}.worker_%d.downstream_cx_total"
        return {number for number in range(WORKERS) if envoy.statistic(name % number) > 0}

    until(lambda: taken() == set(range(WORKERS)), "each worker to take a connection")


@pytest.mark.parametrize("page", ["/quitquitquit", "/config_dump", "/logging?level=trace", "/", "/runtime_modify"])
def test_the_admin_pages_cannot_harm(envoy: Envoy, page: str) -> None:
    """A page in a browser on the same machine can reach the loopback interface, so what stops a gateway is shut."""
    assert GatewayClient(f"http://127.0.0.1:{envoy.admin_port}").post(page).status == 403
    assert serving(envoy.client) == "first"


def test_a_platform_has_the_promised_limits(tmp_path: Path, first: Upstream) -> None:
    """Where nothing is written a client has 100 requests a minute, also for what is not there."""
    workspace: Workspace = parse(MANIFEST.replace("rate_limit = { minute = 1000000, hour = 10000000 }", ""))
    with running_envoy(workspace, tmp_path, {"user-service": (Endpoint(port=first.port),)}) as envoy:
        answers = [envoy.client.get(path) for path in ("/api/users/", "/nothing") for _ in range(50)]
        assert answers[0].headers["x-ratelimit-limit"] == "1000"
        assert 429 not in {answer.status for answer in answers}
        # Some more pass, since buckets fill while the test runs.
        until(lambda: envoy.client.get("/nothing").status == 429, "the allowance to be used up", pause=0.0)
