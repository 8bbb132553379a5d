import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bandstand.context import is_correlation_id
from tests.integration.context.granian import Granian, running

pytestmark = pytest.mark.integration

FORGED = {
    "latin1": b"abc\xe4\xf6\xfcdefgh",
    "utf8": "abcdefghé€".encode(),
    "escape": b"\x1b[31mabcdefgh",
    "nul": b"abcd\x00efgh",
    "carriage return": b"abcdefgh\rX-Evil: 1",
    "line feed": b"abcdefg!\nX-Evil: 1",
    "json": b'abc","level":"ERROR',
    "64 kB": b"a" * 65536,
    "short": b"abc",
    "twice": b"abcdefgh\r\nX-Correlation-ID: ijklmnop",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Granian]:
    with running(tmp_path_factory.mktemp("granian")) as server:
        yield server


def request(path: str, *headers: bytes) -> bytes:
    lines = [b"GET %s HTTP/1.1" % path.encode(), b"Host: localhost", *headers, b"Connection: close", b"", b""]
    return b"\r\n".join(lines)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_correlation_id_is_replaced(server: Granian, name: str) -> None:
    """Sent as raw bytes: the server refuses it or the service replaces it, and each request is one line of JSON."""
    before = len(server.lines("bandstand.request"))
    answer = server.raw(request("/echo/", b"X-Correlation-ID: " + FORGED[name]))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    made = server.lines("bandstand.request")[before:]
    if status == 400:  # granian refuses control characters by itself, and tells nobody
        assert made == []
        return
    echoed = json.loads(body)["correlation_id"]
    assert is_correlation_id(echoed)
    assert echoed.encode() not in FORGED[name]
    assert f"x-correlation-id: {echoed}".encode() in head.lower()
    assert [line["correlation_id"] for line in made] == [echoed]


def test_requests_at_the_same_time_keep_their_ids(server: Granian) -> None:
    """Of 400 requests on 8 threads, each answer and each log line has the id of its own request."""
    sent = [f"request-{number:04}" for number in range(400)]

    def ask(correlation_id: str) -> str:
        response = server.get(f"/echo/{correlation_id}", **{"X-Correlation-ID": correlation_id})
        assert response.headers["X-Correlation-ID"] == correlation_id
        return str(json.loads(response.body)["correlation_id"])  # type: ignore[attr-defined]

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(ask, sent)) == sent
    told = {line["correlation_id"]: line for line in server.lines("bandstand.request")}
    echoed = {line["correlation_id"] for line in server.lines("echo")}
    for correlation_id in sent:
        assert told[correlation_id]["path"] == f"/echo/{correlation_id}"
        assert correlation_id in echoed


def test_a_path_is_one_line(server: Granian) -> None:
    """Line feeds and terminal sequences in a path do not break the log."""
    before = len(server.lines("bandstand.request"))
    server.raw(request("/echo/%0a%0d%1b[2J%e2%80%ae%00"))
    [line] = server.lines("bandstand.request")[before:]
    assert line["path"] == "/echo/\n\r\x1b[2J\u202e\x00"


def test_time_that_is_over_is_504(server: Granian) -> None:
    """A request that nobody waits for is refused by the real server too."""
    response = server.get("/echo/", **{"X-Request-Timeout-Ms": "0"})
    assert response.status == 504
    assert json.loads(response.body)["code"] == "deadline_exceeded"  # type: ignore[attr-defined]


def test_granian_passes_names_with_underscores(server: Granian) -> None:
    """Known, and the reason why a gateway must drop such names: WSGI makes `X_Service_Token` the same as ours.

    The later of the two wins, so a client could otherwise replace what the gateway wrote. When this fails, granian
    has begun to drop them, and the page on the context room can say so.
    """
    answer = server.raw(
        request("/echo/", b"X-Service-Token: good", b"X_Service_Token: evil", b"X-Forwarded-For: 198.51.100.1")
    )
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert said["headers"]["HTTP_X_SERVICE_TOKEN"] == "evil"
    assert said["client_ip"] == "198.51.100.1"


def test_headers_sent_twice_are_one_list(server: Granian) -> None:
    """Two X-Forwarded-For lines are read as one list, so the proxy's entry is still the last."""
    answer = server.raw(request("/echo/", b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 198.51.100.1"))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["client_ip"] == "198.51.100.1"
