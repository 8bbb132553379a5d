"""Both clients against real servers: what reaches the wire, and what each kind of failure becomes."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from bandstand.client import Policy, ServiceClient
from bandstand.client import call as client_call
from bandstand.client.preparation import prepare
from bandstand.client.targets import target_of
from bandstand.client.transports.curl import CurlTransport
from bandstand.conf import wire
from bandstand.context import REGISTRY, bind, new_context
from bandstand.discovery import MemoryRegistry
from bandstand.exceptions import (
    DeadlineExceeded,
    ServiceCallError,
    ServiceResponseError,
    ServiceTimeout,
    ServiceUnavailable,
)
from tests.waiting import GUARD, until

from .conftest import HOUR, Call
from .servers import Behaviour, BlackHole, Received, Server, http, reset

pytestmark = pytest.mark.integration

Serve = Callable[..., list[Server]]


def say(answer: bytes) -> Behaviour:
    return lambda received, connection: connection.sendall(answer)


def in_turn(*answers: bytes) -> Behaviour:
    """Give one answer after another, over all connections; the last one stays."""
    left = list(answers)
    return lambda received, connection: connection.sendall(left.pop(0) if len(left) > 1 else left[0])


def cut(received: Received, connection: socket.socket) -> bool:
    return reset(connection)


# --- what is sent and what is read ---------------------------------------------------------------


def test_json_goes_there_and_back(call: Call, serve: Serve) -> None:
    """Method, target, body and headers arrive as meant, and the answer is read whole."""
    (server,) = serve(say(http(201, b'{"id": 7}', X_More="a")))
    answer = call("POST", "/users/?full=1", json={"name": "Ä"}, params={"page": 2}, headers={"X-Extra": "yes"})
    (received,) = server.requests
    assert (received.method, received.target) == ("POST", "/users/?full=1&page=2")
    assert received.body == '{"name":"Ä"}'.encode()
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-extra"] == "yes"
    assert "expect" not in received.headers
    assert "accept-encoding" not in received.headers
    assert (answer.status, answer.json(), answer.headers["x-more"]) == (201, {"id": 7}, "a")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_each_method_follows_each_other(call: Call, serve: Serve, method: str) -> None:
    """A handle that is used again remembers neither method nor body of the call before."""

    def behave(received: Received, connection: socket.socket) -> None:
        connection.sendall(http(200, b"" if received.method == "HEAD" else b"{}"))

    (server,) = serve(behave)
    order = [
        ("POST", {"a": 1}),
        (method, None),
        ("PUT", {"b": 2}),
        ("HEAD", None),
        (method, None),
        ("DELETE", {"c": 3}),
    ]
    for name, body in order:
        call(name, json=body)
    assert [(each.method, bool(each.body)) for each in server.requests] == [(name, bool(body)) for name, body in order]
    assert all(("content-type" in each.headers) == bool(each.body) for each in server.requests)
    assert server.connections == 1


def test_a_post_without_a_body_has_the_length_zero(call: Call, serve: Serve) -> None:
    """Servers refuse a POST that says nothing of its length (411), so it says 0."""
    (server,) = serve(say(http()))
    call("POST")
    assert server.requests[0].headers["content-length"] == "0"


def test_a_path_arrives_as_it_was_quoted(call: Call, serve: Serve) -> None:
    """No library rewrites what the client has checked: quoted characters stay quoted."""
    (server,) = serve(say(http()))
    call("GET", "/a%2Fb/c d/%7Ee/?q=%2e%2e/x")
    assert server.requests[0].target == "/a%2Fb/c%20d/%7Ee/?q=%2e%2e/x"


def test_connections_are_kept(call: Call, serve: Serve) -> None:
    """Calls one after another use one connection."""
    (server,) = serve(say(http()))
    for _ in range(20):
        call("GET")
        call("POST", json={})
    assert server.connections == 1
    assert server.requests[-1].turn == 40


def test_connections_are_kept_after_error_answers(call: Call, serve: Serve) -> None:
    """An error status is a whole answer, after which the connection is as good as before."""
    (server,) = serve(say(http(404)))
    for _ in range(3):
        with pytest.raises(ServiceResponseError):
            call("GET")
    assert server.connections == 1


def test_an_answer_in_chunks_is_read_whole(call: Call, serve: Serve) -> None:
    """Chunked transfer, with a pause in the middle, gives one body."""

    def behave(received: Received, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n")
        time.sleep(0.02)
        connection.sendall(b"2\r\n3]\r\n0\r\n\r\n")

    serve(behave)
    assert call("GET").json() == [1, 2, 3]


def test_an_interim_answer_is_passed_over(call: Call, serve: Serve) -> None:
    """103 Early Hints before the answer is neither the answer nor a part of its headers."""
    serve(say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http(200, b"1", X_A="b")))
    answer = call("GET")
    assert (answer.status, answer.json(), answer.headers["x-a"]) == (200, 1, "b")
    assert "link" not in answer.headers


def test_the_time_that_is_left_shrinks(call: Call, serve: Serve) -> None:
    """Each attempt tells its callee how long it will be waited for, which is what the ones before it have left."""
    answers = [http(503), http(503), http()]

    def after_a_pause(received: Received, connection: socket.socket) -> None:
        time.sleep(0.02)
        connection.sendall(answers.pop(0))

    (server,) = serve(after_a_pause)
    with bind(new_context(timeout=GUARD)):
        call("GET", timeout=HOUR)
    left = [int(received.headers[wire.REQUEST_TIMEOUT_MS.lower()]) for received in server.requests]
    assert len(left) == 3
    assert GUARD * 1000 >= left[0] >= left[1] + 19 >= left[2] + 38


def test_the_context_arrives(call: Call, serve: Serve) -> None:
    """Correlation id and trace reach the next service."""
    (server,) = serve(say(http()))
    context = new_context(correlation_id="corr-12345678")
    with bind(context):
        call("GET")
    headers = server.requests[0].headers
    assert headers["x-correlation-id"] == "corr-12345678"
    assert context.trace.trace_id in headers["traceparent"]


def test_cookies_are_not_kept(call: Call, serve: Serve) -> None:
    """What one answer sets does not go along with the next call, which may be another user's."""
    (server,) = serve(say(http(Set_Cookie="session=1; Path=/")))
    call("GET")
    call("GET")
    assert "cookie" not in server.requests[1].headers


def test_proxies_of_the_environment_are_ignored(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for the world outside does not get to see the calls between services."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    serve(say(http()))
    assert call("GET").status == 200


# --- statuses -----------------------------------------------------------------------------------


def test_503_then_200_succeeds(call: Call, serve: Serve) -> None:
    """A service that is away for a moment costs a GET a short wait and nothing else."""
    (server,) = serve(in_turn(http(503), http(200, b"1")))
    assert call("GET").json() == 1
    assert len(server.requests) == 2


def test_another_instance_is_asked_after_a_failure(call: Call, serve: Serve) -> None:
    """While one of two instances fails, no GET does."""
    good, bad = serve(say(http(200, b"1")), say(http(503)))
    assert [call("GET").json() for _ in range(20)] == [1] * 20
    assert len(good.requests) == 20
    assert len(bad.requests) <= 20


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_post_without_a_key_is_sent_once(call: Call, serve: Serve, status: int) -> None:
    """Whatever the answer, a write that can't be told from a second one is not repeated."""
    (server,) = serve(say(http(status)))
    with pytest.raises(ServiceUnavailable):
        call("POST", json={})
    assert len(server.requests) == 1


def test_a_post_with_a_key_is_repeated_with_the_key(call: Call, serve: Serve) -> None:
    """With an idempotency key a write is tried again, and the service can see that it is the same."""
    (server,) = serve(in_turn(http(503), http(201, b"1")))
    assert call("POST", json={}, idempotency_key="key-1").json() == 1
    assert [received.headers["idempotency-key"] for received in server.requests] == ["key-1", "key-1"]


def test_redirects_are_not_followed(call: Call, serve: Serve) -> None:
    """A redirect does not lead the service token anywhere: it is an error that names the right path."""
    (elsewhere,) = serve(say(http()))
    target = elsewhere.url + "/secret/"
    (server,) = serve(say(http(302, Location=target)))
    with pytest.raises(ServiceResponseError, match="never followed") as caught:
        call("GET")
    assert caught.value.status == 302
    assert len(server.requests) == 1
    assert elsewhere.requests == []


def test_a_problem_is_read(call: Call, serve: Serve) -> None:
    """The problem document of an error answer is in the error."""
    serve(say(http(409, b'{"code": "out_of_stock", "detail": "..."}')))
    with pytest.raises(ServiceResponseError, match="409: out_of_stock") as caught:
        call("POST", json={})
    assert caught.value.problem["code"] == "out_of_stock"


# --- time ---------------------------------------------------------------------------------------


def silent(received: Received, connection: socket.socket) -> bool:
    """Give no answer for as long as somebody waits for one, up to the guard: then the connection ends."""
    connection.settimeout(GUARD)
    connection.recv(1)
    return False


def drip(received: Received, connection: socket.socket) -> bool:
    """Send a byte now and then as long, which keeps every time-out between bytes content."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    end = time.monotonic() + GUARD
    while time.monotonic() < end:
        time.sleep(0.01)
        connection.sendall(b" ")
    return False


@pytest.mark.parametrize("behave", [silent, drip], ids=["silent", "drip"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_never_ends_is_not_waited_for(call: Call, serve: Serve, behave: Behaviour, method: str) -> None:
    """The time-out is for the whole call, to the last byte, and is not multiplied by retries."""
    (server,) = serve(behave)
    with pytest.raises(ServiceTimeout, match=r"user-service did not answer .* in time") as caught:
        call(method, timeout=1)
    assert caught.value.attempts == 1
    until(lambda: len(server.requests) == 1, "the request")


def test_the_callers_deadline_ends_the_call(call: Call, serve: Serve) -> None:
    """A caller who waits a second more is not kept longer, though the call was given an hour."""
    serve(silent)
    with bind(new_context(timeout=1)), pytest.raises(ServiceTimeout):
        call("GET", timeout=HOUR)


def test_each_call_has_its_own_limit(call: Call, serve: Serve) -> None:
    """Calls over one handle don't inherit each other's time-outs, neither a short one nor a long one."""
    short = 0.5

    def late_or_never(received: Received, connection: socket.socket) -> bool | None:
        if received.target == "/never/":
            return silent(received, connection)
        time.sleep(short + 0.1)
        connection.sendall(http(200, b"1"))
        return None

    serve(late_or_never)
    for _ in range(2):
        assert call("GET", "/late/", timeout=HOUR).json() == 1
        with pytest.raises(ServiceTimeout):
            call("GET", "/never/", timeout=short)


def test_without_time_nothing_is_sent(call: Call, serve: Serve) -> None:
    """A service is not asked for work that nobody waits for."""
    (server,) = serve(say(http()))
    with bind(new_context(timeout=0)), pytest.raises(DeadlineExceeded):
        call("GET")
    assert server.requests == []
    assert server.connections == 0


def retries() -> float:
    return REGISTRY.get_sample_value("bandstand_client_retries_total", {"service": "user-service"}) or 0.0


def test_a_black_hole_is_left_for_another_instance(
    call: Call, serve: Serve, registry: MemoryRegistry, limits: Callable[..., None]
) -> None:
    """An instance that swallows the first packet costs the connect time-out and not the call's, then another is asked.

    Which of the two is asked first is chance; a retry shows that the silent one was.
    """
    limits(CONNECT_TIMEOUT=1)
    before = retries()
    with BlackHole() as hole:
        (server,) = serve(say(http(200, b"1")))
        registry.set("user-service", [hole.url, server.url])
        for _ in range(50):
            assert call("GET").json() == 1
            if retries() > before:
                break
    assert retries() == before + 1


def test_a_black_hole_ends_with_the_call(call: Call, registry: MemoryRegistry, limits: Callable[..., None]) -> None:
    """When nobody takes the connection, the call ends with its caller's time, as a failure of the service.

    What the kernel gives up by itself, after two minutes, is tried three times.
    """
    limits(TIMEOUT=HOUR, CONNECT_TIMEOUT=HOUR)
    with BlackHole() as hole:
        registry.set("user-service", [hole.url])
        with bind(new_context(timeout=1)), pytest.raises((ServiceUnavailable, ServiceTimeout)) as caught:
            call("GET")
    assert caught.value.attempts == 1


# --- connections that break ---------------------------------------------------------------------


def test_nobody_listens(call: Call, registry: MemoryRegistry) -> None:
    """A refused connection is tried again for a GET and is an error that says after how many attempts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    registry.set("user-service", [url])
    for method, attempts in (("GET", 3), ("POST", 1)):
        with pytest.raises(ServiceUnavailable, match="could not be reached") as caught:
            call(method)
        assert caught.value.attempts == attempts
        assert url in str(caught.value.__cause__)


def test_a_dead_instance_costs_no_get(call: Call, serve: Serve, registry: MemoryRegistry) -> None:
    """One of two instances is gone while discovery still lists it: every GET is answered by the other."""
    dead, _ = serve(say(http()), say(http(200, b"1")))
    for _ in range(4):
        call("GET")  # with a connection kept to each
    dead.stop()
    assert [call("GET").json() for _ in range(20)] == [1] * 20


def half(received: Received, connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1,")
    time.sleep(0.02)  # let it be read, or the reset takes it along
    return reset(connection)


def half_and_end(received: Received, connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1,")
    return False


def half_a_chunk(received: Received, connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,")
    return False


@pytest.mark.parametrize("behave", [cut, half, half_and_end, half_a_chunk])
def test_half_an_answer_is_no_answer(call: Call, serve: Serve, behave: Behaviour) -> None:
    """A connection that ends in the middle of an answer is a failure, repeated for a GET only."""
    (server,) = serve(behave)
    with pytest.raises(ServiceUnavailable, match="broke the connection") as caught:
        call("POST", json={})
    assert caught.value.attempts == len(server.requests) == 1
    with pytest.raises(ServiceUnavailable):
        call("GET")
    assert len(server.requests) == 1 + 3


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_write_is_not_repeated_when_its_kept_connection_breaks(
    call: Call, serve: Serve, method: str, end: str
) -> None:
    """A server that dies at work on a kept connection looks like one that closed it while idle: no library may guess.

    Both libraries would send the request again, over a new connection: libcurl any method, aiohttp PUT and DELETE.
    """

    def die_at_the_second(received: Received, connection: socket.socket) -> bool | None:
        if received.turn < 2:
            connection.sendall(http())
            return None
        return reset(connection) if end == "reset" else False

    (server,) = serve(die_at_the_second)
    call(method, json={})
    with pytest.raises(ServiceUnavailable, match="may have done the work") as caught:
        call(method, json={})
    assert caught.value.attempts == 1
    assert [received.turn for received in server.requests] == [1, 2]
    call(method, json={})  # and the next call is as any other


def test_a_get_survives_a_connection_that_was_closed(call: Call, serve: Serve) -> None:
    """A server may close a kept connection whenever it likes; a GET does not notice."""

    def once_each(received: Received, connection: socket.socket) -> bool:
        connection.sendall(http())
        return False

    (server,) = serve(once_each)
    for _ in range(5):
        assert call("GET").status == 200
    assert len(server.requests) == 5


# --- what should not be answered -----------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_has_a_largest_size(call: Call, serve: Serve, limits: Callable[..., None], chunked: bool) -> None:
    """What is larger than MAX_RESPONSE_BYTES is not taken in, whether it says its length or not."""
    limits(MAX_RESPONSE_BYTES=1000)

    def behave(received: Received, connection: socket.socket) -> None:
        size = int(received.target.rpartition("=")[2])
        if chunked:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"1" * size))
        else:
            connection.sendall(http(200, b"1" * size))

    (server,) = serve(behave)
    assert len(call("GET", params={"size": 1000}).content) == 1000
    with pytest.raises(ServiceCallError, match="MAX_RESPONSE_BYTES") as caught:
        call("GET", params={"size": 1001})
    assert type(caught.value) is ServiceCallError
    assert len(server.requests) == 2
    assert len(call("GET", params={"size": 1000}).content) == 1000


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 abc\r\n\r\n"]
)
def test_another_protocol_is_not_an_answer(call: Call, serve: Serve, answer: bytes) -> None:
    """An address where something else listens is an error of its own, and not an empty success."""

    def behave(received: Received, connection: socket.socket) -> bool:
        connection.sendall(answer)
        return False

    serve(behave)
    with pytest.raises(ServiceCallError):
        call("GET")


# --- threads ------------------------------------------------------------------------------------


def test_threads_do_not_mix_answers(serve: Serve) -> None:
    """Eight threads, a connection each: everybody gets the answer to the own question, and nothing stays in flight."""

    def echo(received: Received, connection: socket.socket) -> None:
        connection.sendall(http(200, received.target.encode().join([b'"', b'"'])))

    (server,) = serve(echo)
    client = ServiceClient("user-service", policy=Policy(timeout=GUARD, connect_timeout=GUARD))
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(50):
            path = f"/{name}/{number}/"
            if client.get(path).json() != path:
                wrong.append(path)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert server.connections == 8
    assert target_of("user-service", Policy()).balancer.in_flight(server.url) == 0


def test_a_thread_that_ends_closes_its_connections(serve: Serve) -> None:
    """Threads come and go; their connections go with them, without waiting for the garbage collector."""
    ended = threading.Event()

    def until_closed(received: Received, connection: socket.socket) -> None:
        connection.sendall(http())
        if connection.recv(1) == b"":
            ended.set()

    serve(until_closed)
    thread = threading.Thread(target=lambda: ServiceClient("user-service").get("/x/"))
    thread.start()
    thread.join()
    assert ended.wait(GUARD)


def test_a_large_answer_is_not_kept(serve: Serve) -> None:
    """A thread that once read a large body doesn't hold on to it until its next call."""
    serve(say(http(200, b"1" * 1_000_000)))
    way = CurlTransport()
    request = client_call.Call(prepare("user-service", "GET", "/x/", {}), target_of("user-service", Policy())).attempt()
    assert len(way.send(request).content) == 1_000_000
    assert way._local.line._answer.chunks == []
