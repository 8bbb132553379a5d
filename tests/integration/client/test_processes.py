"""What only a process of its own can show: forks, event loops that come and go, and what is left behind at the end."""

import subprocess
import sys
from textwrap import dedent

import pytest

from .servers import Server, http

pytestmark = pytest.mark.integration

_SETTINGS = """
from django.conf import settings
settings.configure(BANDSTAND={{"SERVICE": "script", "DISCOVERY": {{"URL": "static:user-service={url}"}}}})
from bandstand.client import AsyncServiceClient, ServiceClient
client = ServiceClient("user-service")
"""


def run(server: Server, script: str) -> str:
    """Run a script in which every warning is an error, that of a socket left open too, and return its output."""
    source = _SETTINGS.format(url=server.url) + dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
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


def test_a_cancelled_call_ends_at_once() -> None:
    """A task that is cancelled does not wait for its call, and nothing stays in flight."""

    def never(received: object, connection: object) -> None:
        """Send nothing."""

    with Server(never) as server:
        run(
            server,
            """
            import asyncio, time
            from bandstand.client.balancing import in_flight

            async def main():
                task = asyncio.create_task(AsyncServiceClient("user-service").get("/x/", timeout=20))
                while not in_flight._calls:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    return
                raise AssertionError("not cancelled")

            began = time.monotonic()
            asyncio.run(main())
            assert time.monotonic() - began < 5
            assert in_flight._calls == {}
            """,
        )
