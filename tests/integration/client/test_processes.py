"""What only a process of its own can show: forks, event loops that come and go, and what is left behind at the end."""

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from tests.waiting import GUARD

from .servers import Server, http

pytestmark = pytest.mark.integration

_SETTINGS = """
from django.conf import settings
settings.configure(
    BANDSTAND={{
        "SERVICE": "script",
        "DISCOVERY": {{"URL": "static:user-service={url}"}},
        "CLIENT": {{"TIMEOUT": 60, "CONNECT_TIMEOUT": 60}},
    }}
)
from bandstand.client import AsyncServiceClient, ServiceClient
client = ServiceClient("user-service")
"""


def run(server: Server, script: str, **environment: str) -> str:
    """Run a script in which every warning is an error, that of a socket left open too, and return its output."""
    source = _SETTINGS.format(url=server.url) + dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=2 * GUARD,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def answering() -> Server:
    return Server(lambda received, connection: connection.sendall(http()))


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_has_connections_of_its_own(end: str) -> None:
    """Parent and child never write into one connection, and the child's end does not close the parent's."""
    with answering() as server:
        run(
            server,
            f"""
            import os, sys
            client.get("/parent/1/")
            child = os.fork()
            if child == 0:
                client.get("/child/1/")
                client.get("/child/2/")
                {end}
            assert os.waitpid(child, 0)[1] == 0
            client.get("/parent/2/")
            """,
        )
    assert {(received.target, received.connection, received.turn) for received in server.requests} == {
        ("/parent/1/", 1, 1),
        ("/child/1/", 2, 1),
        ("/child/2/", 2, 2),
        ("/parent/2/", 1, 2),
    }


def test_a_child_does_not_wait_for_locks_of_its_parent() -> None:
    """A fork in the very moment in which a thread of the parent counts a call leaves the child able to call."""
    with answering() as server:
        run(
            server,
            """
            import os, signal
            from bandstand.client.policies import configured_policy
            from bandstand.client.targets import target_of
            client.get("/parent/")
            target = target_of("user-service", configured_policy("user-service"))
            with target.budget._lock, target.breaker._lock, target.balancer._lock:
                child = os.fork()
                if child == 0:
                    signal.alarm(60)  # ends a child that hangs
                    client.get("/child/")
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            """,
        )
    assert [received.target for received in server.requests] == ["/parent/", "/child/"]


def test_a_process_pool_made_after_a_call_works() -> None:
    """A server that loads the application first and forks its workers then, serves from all of them."""
    with answering() as server:
        run(
            server,
            """
            import os
            client.get("/before/")
            children = []
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    for number in range(5):
                        client.get(f"/{number}/")
                    os._exit(0)
                children.append(child)
            assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
            """,
        )
    assert len(server.requests) == 1 + 3 * 5
    assert server.connections == 4


def test_event_loops_come_and_go() -> None:
    """Each loop has connections of its own, which close with it: nothing is left open and nothing is warned of."""
    with answering() as server:
        run(
            server,
            """
            import asyncio
            from asgiref.sync import async_to_sync
            asynchronous = AsyncServiceClient("user-service")

            async def twice():
                await asyncio.gather(asynchronous.get("/a/"), asynchronous.get("/b/"))
                await asynchronous.get("/c/")

            asyncio.run(twice())
            asyncio.run(twice())
            async_to_sync(twice)()

            from bandstand.client.transports.active import async_transport
            assert async_transport()._open == {}, async_transport()._open
            """,
        )
    assert len(server.requests) == 9
    assert server.connections == 6


def test_an_event_loop_that_was_only_closed_leaves_no_session() -> None:
    """A loop that was closed without being shut down is forgotten when the next one makes a call."""
    with answering() as server:
        run(
            server,
            """
            import asyncio, logging, warnings
            warnings.simplefilter("ignore", ResourceWarning)  # the sockets of a loop that nobody shut down
            logging.disable()  # and what aiohttp says of them
            asynchronous = AsyncServiceClient("user-service")
            for _ in range(3):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(asynchronous.get("/x/"))
                loop.close()
            from bandstand.client.transports.active import async_transport
            assert len(async_transport()._open) == 1
            """,
        )
    assert len(server.requests) == 3


def test_a_cancelled_call_ends(tmp_path: Path) -> None:
    """A task that is cancelled does not wait for its call, which nobody answers, and nothing stays in flight."""
    asked = tmp_path / "asked"

    def never(received: object, connection: object) -> None:
        """Send nothing."""
        asked.touch()

    with Server(never) as server:
        run(
            server,
            """
            import asyncio, os
            from bandstand.client.policies import configured_policy
            from bandstand.client.targets import target_of
            limit = target_of("user-service", configured_policy("user-service")).limit

            async def main():
                task = asyncio.create_task(AsyncServiceClient("user-service").get("/x/", timeout=3600))
                while not os.path.exists(os.environ["ASKED"]):
                    await asyncio.sleep(0.01)
                assert limit.inside == 1
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    return
                raise AssertionError("not cancelled")

            asyncio.run(main())
            assert limit.inside == 0
            """,
            ASKED=str(asked),
        )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate for 127.0.0.1 that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "server.pem"
    path.write_bytes(made.public_bytes(pem) + secret)
    return path


def test_certificates_are_verified(certificate: Path) -> None:
    """An https address is believed with a certificate of the machine's authorities or of SSL_CERT_FILE, else not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    script = """
        import asyncio, sys
        from bandstand.exceptions import ServiceUnavailable

        def outcome(get):
            try:
                return str(get().status)
            except ServiceUnavailable as error:
                return type(error.__cause__).__name__

        asynchronous = AsyncServiceClient("user-service")
        import logging
        logging.disable()
        print(outcome(lambda: client.get("/x/")), outcome(lambda: asyncio.run(asynchronous.get("/x/"))))
    """
    with Server(lambda received, connection: connection.sendall(http()), tls=context) as server:
        assert run(server, script, SSL_CERT_FILE=str(certificate)) == "200 200\n"
        assert run(server, script) == "ConnectFailed ConnectFailed\n"
    assert len(server.requests) == 2


def test_a_forked_child_leaves_the_parents_tls_alone(certificate: Path) -> None:
    """A child that ends does not say goodbye on an encrypted connection that is the parent's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(lambda received, connection: connection.sendall(http()), tls=context) as server:
        run(
            server,
            """
            import os, gc
            client.get("/parent/1/")
            child = os.fork()
            if child == 0:
                client.get("/child/")
                gc.collect()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            client.get("/parent/2/")
            """,
            SSL_CERT_FILE=str(certificate),
        )
    assert [(received.connection, received.turn) for received in server.requests] == [(1, 1), (2, 1), (1, 2)]
