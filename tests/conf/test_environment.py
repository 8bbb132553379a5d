import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.test import override_settings

from bandstand.conf import ServiceEnvironment, wire
from bandstand.exceptions import ConfigurationError

DEVELOPMENT = {
    "SECRET_KEY": f"{wire.DEVELOPMENT_MARK}abc",
    "DEBUG": "true",
    "DATABASE_URL": "postgresql://u:p%40ss@127.0.0.1:5432/users",
    "BANDSTAND_ALLOWED_CALLERS": "order-service, product-service",
}
PRODUCTION = DEVELOPMENT | {
    "DEBUG": "false",
    "SECRET_KEY": "b7Jp2vN9xQ4sT8wY1zA5dF6gH3kL0mC-eRuIoPqWnXjZlBtVcS",
    "ALLOWED_HOSTS": "shop.example",
    "BROKER_URL": "nats://users:s3cret@nats:4222",
}


def faults(**changes: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        ServiceEnvironment.read("user-service", PRODUCTION | changes)
    return "\n".join(raised.value.faults)


def test_reads_a_development_environment() -> None:
    """A complete environment becomes values that settings.py can assign."""
    environment = ServiceEnvironment.read("user-service", DEVELOPMENT)
    assert environment.debug is True
    assert environment.allowed_hosts == ("localhost", "127.0.0.1", "[::1]", "user-service")
    assert environment.database["PASSWORD"] == "p@ss"
    assert environment.database["ENGINE"] == "bandstand.postgresql"
    assert environment.bandstand()["IDENTITY"]["ALLOWED_CALLERS"] == ("order-service", "product-service")


def test_reports_all_faults_at_once() -> None:
    """Each missing or wrong variable is named in one error, with what to do."""
    with pytest.raises(ConfigurationError) as raised:
        ServiceEnvironment.read("user-service", {"DEBUG": "maybe", "CACHE_URL": "memcached://x"})
    text = str(raised.value)
    for name in ("DEBUG is 'maybe'", "SECRET_KEY is not set", "DATABASE_URL is not set", "CACHE_URL begins", "ALLOWED"):
        assert name in text
    assert "bandstand up" in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SECRET_KEY", f"{wire.DEVELOPMENT_MARK}abc"),
        ("DATABASE_URL", f"postgresql://u:{wire.DEVELOPMENT_MARK}abc@db/users"),
        ("CACHE_URL", f"redis://u:{wire.DEVELOPMENT_MARK}abc@redis/0"),
        ("BROKER_URL", f"nats://u:{wire.DEVELOPMENT_MARK}abc@nats"),
        ("ALLOWED_HOSTS", "*"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "x" * 80),
        ("BROKER_URL", "memory://"),
        ("BROKER_URL", ""),
    ],
)
def test_production_refuses_what_was_made_for_development(variable: str, value: str) -> None:
    """With DEBUG off, a development secret or an open host list stops the service before it starts."""
    assert variable in faults(**{variable: value})


def test_debug_is_off_unless_asked_for() -> None:
    """A forgotten DEBUG variable never turns debugging on."""
    assert ServiceEnvironment.read("user-service", {k: v for k, v in PRODUCTION.items() if k != "DEBUG"}).debug is False


def test_refuses_the_environment_of_another_service() -> None:
    """A service started with another service's variables says so."""
    assert "order-service" in faults(BANDSTAND_SERVICE="order-service")


def test_overrides_are_merged_room_by_room() -> None:
    """A service changes one key of a room and keeps the others."""
    setting = ServiceEnvironment.read("user-service", DEVELOPMENT).bandstand(
        version="2.0", identity={"ALLOWED_CALLERS": ()}, client={"TIMEOUT": 2.0}
    )
    assert setting["VERSION"] == "2.0"
    assert setting["CLIENT"] == {"TIMEOUT": 2.0}
    assert setting["IDENTITY"]["ALLOWED_CALLERS"] == ()
    assert "SERVICE_KEY_FILE" in setting["IDENTITY"]


def test_policies_of_the_platform_become_settings() -> None:
    """What the manifest says of calls stands in the setting, and a service changes single keys of single targets."""
    policies = '{"timeout": 2, "targets": {"order-service": {"retries": 1, "timeout": 0.5}}}'
    environment = ServiceEnvironment.read("user-service", {**DEVELOPMENT, wire.CLIENT_POLICIES: policies})
    setting = environment.bandstand(client={"TARGETS": {"order-service": {"RETRIES": 0}}})
    assert setting["CLIENT"] == {"TIMEOUT": 2, "TARGETS": {"order-service": {"RETRIES": 0, "TIMEOUT": 0.5}}}


@pytest.mark.parametrize("value", ["{", "[]", '{"targets": []}', '{"targets": {"order-service": 5}}'])
def test_policies_that_can_not_be_read_are_a_fault(value: str) -> None:
    """A variable that is no JSON of the right form is told with all other faults."""
    assert f"{wire.CLIENT_POLICIES} can't be read" in faults(**{wire.CLIENT_POLICIES: value})


def test_secrets_do_not_show_in_repr() -> None:
    """Printing the environment never prints a password or a key."""
    text = repr(ServiceEnvironment.read("user-service", DEVELOPMENT))
    assert "p@ss" not in text
    assert DEVELOPMENT["SECRET_KEY"] not in text


def test_cookies_and_hsts_are_safe_in_production_only() -> None:
    """Behind TLS the cookies are secure and HSTS is on; plain HTTP on a laptop keeps working."""
    assert ServiceEnvironment.read("user-service", PRODUCTION).security["SESSION_COOKIE_SECURE"] is True
    assert ServiceEnvironment.read("user-service", DEVELOPMENT).security == {"SECRET_KEY_FALLBACKS": []}


def test_a_secret_key_of_several_lines() -> None:
    """The first signs and the others are accepted, as while it is replaced; each must be good."""
    first, second = PRODUCTION["SECRET_KEY"], PRODUCTION["SECRET_KEY"][::-1]
    environment = ServiceEnvironment.read("user-service", PRODUCTION | {"SECRET_KEY": f"{first}\n{second}\n"})
    assert environment.secret_key == first
    assert environment.security["SECRET_KEY_FALLBACKS"] == [second]
    with pytest.raises(ConfigurationError, match="SECRET_KEY can be guessed"):
        ServiceEnvironment.read("user-service", PRODUCTION | {"SECRET_KEY": f"{first}\nshort"})


def test_trusted_proxies_are_networks() -> None:
    """What is no address or network is told at start, not by the first request behind a proxy."""
    assert "BANDSTAND_TRUSTED_PROXIES names 'gateway'" in faults(BANDSTAND_TRUSTED_PROXIES="10.0.0.0/8, gateway")


def test_draining_takes_no_time_unless_told() -> None:
    """BANDSTAND_DRAIN_SECONDS is 0 by default and may be said to be."""
    for source, seconds in (({}, 0), ({"BANDSTAND_DRAIN_SECONDS": "0"}, 0), ({"BANDSTAND_DRAIN_SECONDS": "5"}, 5)):
        environment = ServiceEnvironment.read("user-service", DEVELOPMENT | source)
        assert environment.bandstand()["HEALTH"] == {"DRAIN": seconds}
    assert "BANDSTAND_DRAIN_SECONDS is '-1'" in faults(BANDSTAND_DRAIN_SECONDS="-1")


def mailer(url: str) -> Any:
    """Return the backend that Django builds, by whichever settings this Django has for it."""
    with override_settings(**ServiceEnvironment.read("user-service", PRODUCTION | {"EMAIL_URL": url}).email):
        return mail.mailers["default"] if hasattr(mail, "mailers") else mail.get_connection()


def test_mails_go_to_a_folder(tmp_path: Path) -> None:
    """EMAIL_URL=file:///folder writes each mail into the folder."""
    message = mail.EmailMessage("Welcome", "Hello", "shop@example.com", ["ada@example.com"])
    assert mailer(f"file://{tmp_path}").send_messages([message]) == 1
    [written] = tmp_path.iterdir()
    assert "Subject: Welcome" in written.read_text()


def test_mails_go_to_a_server() -> None:
    """EMAIL_URL=smtps://… names server, port and account, with a time limit."""
    sender = mailer("smtps://shop:p%40ss@mail.example")
    assert (sender.host, sender.port, sender.username, sender.password) == ("mail.example", 465, "shop", "p@ss")
    assert (sender.use_ssl, sender.timeout) == (True, 5)


def test_each_record_is_written_once() -> None:
    """Django's own handler writes nothing beside ours, and its request log only where there is a traceback."""
    program = (
        "import logging.config, sys\n"
        "from django.utils.log import DEFAULT_LOGGING\n"
        "from django.conf import settings\n"
        "from bandstand.conf import ServiceEnvironment\n"
        "settings.configure(DEBUG=True)\n"
        "logging.config.dictConfig(DEFAULT_LOGGING)\n"
        f"logging.config.dictConfig(ServiceEnvironment.read('user-service', {DEVELOPMENT!r}).logging)\n"
        "logging.getLogger('django.security.DisallowedHost').error('strange host')\n"
        "logging.getLogger('django.request').error('Service Unavailable')\n"
        "logging.getLogger('django.request').error('broken', exc_info=ValueError('x'))\n"
    )
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert [json.loads(line)["message"] for line in lines.splitlines()] == ["strange host", "broken"]


def test_own_address_stands_for_whatever_address_the_container_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus finds an instance by DNS and calls it by its address, which nobody knows before."""
    found = [(2, 1, 6, "", ("172.18.0.7", 0)), (10, 1, 6, "", ("fd00::7", 0, 0, 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_options: found)
    environment = ServiceEnvironment.read("user-service", PRODUCTION | {"ALLOWED_HOSTS": "shop.example,own-address"})
    assert environment.allowed_hosts == ("shop.example", "172.18.0.7", "[fd00::7]", "user-service")
