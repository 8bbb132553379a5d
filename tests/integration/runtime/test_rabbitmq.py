"""A platform whose broker is the machine's own RabbitMQ: what it keeps apart, and that nothing of it is left."""

import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pika
import psutil
import pytest
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ProbableAuthenticationError, UnroutableError

from bandstand.conf import wire
from bandstand.workspace.runtime.accounts import ADMINISTRATOR
from bandstand.workspace.runtime.credentials import load_credentials
from bandstand.workspace.runtime.servers.definitions import rabbitmq_url
from tests.integration.optional.servers import require_rabbitmq, withstands_a_kill
from tests.integration.runtime.shop import Platform, eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rabbitmq(started_before: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that ran on NATS before, and runs on RabbitMQ."""
    require_rabbitmq()
    folder = shutil.copytree(started_before, tmp_path_factory.mktemp("rabbitmq") / "tiny shöp")
    manifest = folder / "bandstand.toml"
    manifest.write_text(manifest.read_text() + '\n[servers]\nrabbitmq = "system"\n')
    platform = Platform(folder)
    try:
        platform.up()
        yield platform
    finally:
        platform.run("down")
        for process in platform.left():
            process.kill()


def url(platform: Platform, service: str) -> str:
    lines = platform.run("exec", service, "env").stdout.splitlines()
    return next(line for line in lines if line.startswith(f"{wire.BROKER_URL}=")).partition("=")[2]


def publish(channel: "pika.adapters.blocking_connection.BlockingChannel", key: str) -> None:
    """Publish with a confirmation."""
    channel.confirm_delivery()
    channel.basic_publish("tiny.events.order-service", key, b"{}", mandatory=True)


def runner_of(platform: Platform) -> psutil.Process:
    return psutil.Process(platform.state["pid"])


def test_it_runs_in_place_of_nats(rabbitmq: Platform) -> None:
    """`ps` shows it as any server, `logs` shows what it wrote, and all of it listens on the loopback address."""
    rows = {row["name"]: row for row in rabbitmq.json("ps")["processes"]}
    assert rows["rabbitmq"]["state"] == rows["rabbitmq-epmd"]["state"] == "ready"
    assert "nats" not in rows
    assert "[info]" in rabbitmq.run("logs", "rabbitmq").stdout
    listening = [
        connection.laddr.ip
        for process in runner_of(rabbitmq).children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert all(ip_address(address).is_loopback for address in listening)


def test_its_folder_is_the_owners_alone(rabbitmq: Platform) -> None:
    """The folder is closed to others, and so is what holds hashes or Erlang's cookie."""
    folder = rabbitmq.root / ".bandstand" / "rabbitmq"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("definitions.json", "rabbitmq.conf", ".erlang.cookie"):
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda channel: publish(channel, "user-service.user.created"),
        lambda channel: channel.queue_delete("tiny.events"),
        lambda channel: channel.exchange_delete("tiny.events"),
        lambda channel: channel.queue_declare("tiny.user-service.x", durable=True),
    ],
)
def test_a_service_can_not_act_for_another(rabbitmq: Platform, forbidden: Callable[..., object]) -> None:
    """It publishes in its own name, and neither makes nor deletes nor fills what is not its own."""
    with closing(pika.BlockingConnection(pika.URLParameters(url(rabbitmq, "order-service")))) as connection:
        publish(connection.channel(), "order-service.order.placed")
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            forbidden(connection.channel())


def test_its_passwords_are_replaced(rabbitmq: Platform) -> None:
    """A service publishes as its other user; the first one is refused, and a connection that it had is closed."""
    old = url(rabbitmq, "order-service")
    stolen = pika.BlockingConnection(pika.URLParameters(old))
    rabbitmq.json("secrets", "rotate", "--token-lifetime", "0")
    with pytest.raises(AMQPConnectionError):
        eventually(lambda: stolen.process_data_events(time_limit=0.1))
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(old))
    with closing(pika.BlockingConnection(pika.URLParameters(url(rabbitmq, "order-service")))) as connection:
        publish(connection.channel(), "order-service.order.created")


def test_what_an_administrator_deletes_is_declared_again(rabbitmq: Platform) -> None:
    """The health check finds that the shared exchange, the archive or a service's exchange is gone."""
    secrets = load_credentials(rabbitmq.root / ".bandstand" / "secrets.json", [])
    [boss] = secrets.administrators("rabbitmq", ADMINISTRATOR)
    address = rabbitmq_url(boss, rabbitmq.state["ports"]["rabbitmq"])
    own = "tiny.events.order-service"
    with closing(pika.BlockingConnection(pika.URLParameters(url(rabbitmq, "order-service")))) as service:
        with closing(pika.BlockingConnection(pika.URLParameters(address))) as administrator:
            channel = administrator.channel()
            channel.queue_delete("tiny.events")
            for exchange in ("tiny.events", own):
                channel.exchange_delete(exchange)

        def takes_events() -> bool:
            try:
                publish(service.channel(), "order-service.order.placed")
            except (ChannelClosedByBroker, UnroutableError):
                return False
            return True

        eventually(takes_events)


def test_nobody_gets_in_without_a_password(rabbitmq: Platform) -> None:
    """The user that RabbitMQ has by default is not there."""
    port = rabbitmq.state["ports"]["rabbitmq"]
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@127.0.0.1:{port}/%2F"))


def test_a_kill_costs_nothing_that_it_confirmed(rabbitmq: Platform) -> None:
    """A quorum queue whose name is on the disk, and its message, are there after `kill -9`; no zombie stays."""
    with closing(pika.BlockingConnection(pika.URLParameters(url(rabbitmq, "order-service")))) as connection:
        channel = connection.channel()
        channel.queue_declare("tiny.order-service.new", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind("tiny.order-service.new", "tiny.events", "#")
        publish(channel, "order-service.order.placed")
        folder = rabbitmq.root / ".bandstand" / "rabbitmq"
        eventually(lambda: withstands_a_kill(folder, "tiny.order-service.new"))
    before = rabbitmq.process("rabbitmq")
    os.kill(before["pid"], signal.SIGKILL)

    def is_back() -> bool:
        row = rabbitmq.process("rabbitmq")
        return row["state"] == "ready" and row["pid"] != before["pid"]

    eventually(is_back)
    with closing(pika.BlockingConnection(pika.URLParameters(url(rabbitmq, "order-service")))) as connection:
        eventually(lambda: connection.channel().basic_get("tiny.order-service.new")[0])
        assert connection.channel().queue_delete("tiny.order-service.new")
    eventually(lambda: not zombies(rabbitmq))


def zombies(platform: Platform) -> list[psutil.Process]:
    return [child for child in runner_of(platform).children() if child.status() == psutil.STATUS_ZOMBIE]


def test_nothing_is_left(rabbitmq: Platform) -> None:
    """Neither `down` nor `kill -9` of the runner leaves the server, its port mapper or what Erlang started."""
    rabbitmq.json("down")
    eventually(lambda: not rabbitmq.left() and not rabbitmq.listening())
    rabbitmq.up()
    started = [process.pid for process in runner_of(rabbitmq).children(recursive=True)]
    os.kill(rabbitmq.state["pid"], signal.SIGKILL)
    # What Erlang started names no folder, and ends by itself when it hears that its parent is gone.
    eventually(lambda: not rabbitmq.left() and not rabbitmq.listening() and not any(map(lives, started)))
    rabbitmq.up()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
