"""The streams and exchanges that services share at their broker, and the job that declares them."""

import sys
from pathlib import Path

import pytest

from bandstand.exceptions import ConfigurationError
from bandstand.topology import __main__ as command
from bandstand.topology import rabbitmq
from bandstand.topology.nats import inbound_stream, permissions, stream_configurations
from tests.ports import held_port


def test_one_stream_is_shared_and_each_service_has_one() -> None:
    """The server alone fills the own streams, and they keep events for as long as the shared one does."""
    shared, *own = stream_configurations("shop", ["a", "b"], replicas=3)
    assert (shared["name"], shared["subjects"]) == ("shop-events", ["shop.events.>"])
    assert [each["name"] for each in own] == ["shop-events-a", "shop-events-b"]
    assert all(each["sources"] == [{"name": "shop-events"}] and "subjects" not in each for each in own)
    assert {each["num_replicas"] for each in (shared, *own)} == {3}
    assert len({each["max_age"] for each in (shared, *own)}) == 1


def test_permissions_name_nothing_of_others() -> None:
    """No wildcard reaches another service, however its name begins."""
    rights = permissions("shop", "order")
    subjects = [*rights["publish"]["allow"], *rights["subscribe"]["allow"]]
    for subject in subjects:
        pattern = subject.removesuffix(".>").removesuffix(".*")
        assert "*" not in pattern
        assert ">" not in pattern
        assert {"order", "shop-events-order"} & set(pattern.split(".")), subject


@pytest.mark.parametrize("name", ["a.b", "a b", "*", ">", "", "a\nb"])
def test_a_name_that_would_widen_a_subject_is_refused(name: str) -> None:
    """It is refused both as a service and as a platform."""
    with pytest.raises(ConfigurationError):
        inbound_stream("shop", name)
    with pytest.raises(ConfigurationError):
        inbound_stream(name, "order-service")


def run(monkeypatch: pytest.MonkeyPatch, *words: str, **environment: str) -> int:
    for name in ("BROKER_ADMIN_URL", "BROKER_ADMIN_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["topology", *words])
    return command.main()


def test_without_a_url_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 2, as of any wrong command line."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "shop", "a")
    assert ended.value.code == 2
    assert "BROKER_ADMIN_URL is not set" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A wrong path is a wrong command line, and no traceback."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "shop", "a", BROKER_ADMIN_URL_FILE=str(tmp_path / "nowhere"))
    assert ended.value.code == 2
    assert "nowhere, which can't be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(("scheme", "name"), [("nats", "NATS"), ("amqp", "RabbitMQ")])
def test_a_server_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, scheme: str, name: str
) -> None:
    """The error comes when ``--wait`` is over, and holds no password."""
    file = tmp_path / "url"
    file.write_text(f"{scheme}://admin:hunter2@127.0.0.1:{held_port()}\n")
    assert run(monkeypatch, "shop", "a", "--wait", "0", BROKER_ADMIN_URL_FILE=str(file)) == 1
    error = capsys.readouterr().err
    assert f"{name} at 127.0.0.1:" in error
    assert "hunter2" not in error


@pytest.mark.parametrize("url", ["kafka://admin:hunter2@broker:9092", "amqp://admin:hunter2@broker:port/"])
def test_a_url_that_is_not_understood_is_a_wrong_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """Nothing is waited for, since waiting would not help; the password is not shown."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "shop", "a", BROKER_ADMIN_URL=url)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "administrator" in error
    assert "hunter2" not in error


@pytest.mark.parametrize("name", ["a.b", "a b", "*", "#", "", "events"])
def test_a_name_that_would_be_another_s_in_rabbitmq_is_refused(name: str) -> None:
    """With such a name a service's rights would reach what is shared, or its names could not be told apart."""
    with pytest.raises(ConfigurationError):
        rabbitmq.permissions("shop", name)
