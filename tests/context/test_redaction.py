"""Tests that secrets next to their names are masked in every form, and that ordinary text is left alone."""

import dataclasses
import json
import logging
from typing import Any

import msgspec
import pytest

from bandstand.context import ConsoleFormatter, JsonFormatter
from bandstand.context.redaction import is_secret, masked

VALUE = "s3cr3t-value"


@pytest.mark.parametrize(
    "name",
    [
        "password", "passwd", "Password2", "new_password", "token", "access_token", "refresh", "api_key", "apiKey",
        "API-KEY", "x_api_key", "secret", "client_secret", "private_key", "authorization", "Authorization", "cookie",
        "set-cookie", "sessionid", "session_key", "csrftoken", "csrfmiddlewaretoken", "dsn", "credentials", "pin",
        "otp", "cvv", "card_number", "iban", "ssn", "jwt", "bearer", "signature", "DATABASE_URL", "x-service-token",
        "cardNumber", "userPin", "OTP", "smtpPwd", b"authorization",
    ],
)  # fmt: skip
def test_names_of_secrets(name: object) -> None:
    """Names of secrets are recognised in snake_case, in camelCase, with hyphens, and as bytes."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["shipping", "opinion", "inside", "author", "authority", "spinning", "refresh_interval", "key", "idempotency_key",
     "access_count", "passed", "bypass", "sidecar", "assigned"],
)  # fmt: skip
def test_names_of_nothing_secret(name: str) -> None:
    """Names that only resemble those of secrets, or are excluded on purpose, are not secret."""
    assert not is_secret(name)


@dataclasses.dataclass
class Data:
    password: str = VALUE


class Struct(msgspec.Struct):
    api_key: str = VALUE


class Written:
    def __repr__(self) -> str:
        return f"Written(password='{VALUE}', name='ann')"


VALUES: list[Any] = [
    [{"password": VALUE}],
    ({"token": VALUE},),
    {"deep": [{"er": ({"password": VALUE},)}]},
    [("Authorization", f"Bearer {VALUE}"), ("Accept", "*/*")],
    [(b"cookie", b"sessionid=" + VALUE.encode())],
    {b"password": VALUE},
    Data(),
    [Struct()],
    Written(),
    [Written()],
    {"url": f"https://u:{VALUE}@host/"},
]
TEXTS = [
    json.dumps({"password": VALUE}),
    json.dumps(json.dumps({"password": VALUE, "name": "ann"})),
    repr({"password": VALUE}),
    repr({"headers": [("authorization", VALUE)]}),
    f"/x?token={VALUE}&a=1",
    f"password={VALUE}&x=1",
    f"Authorization: Bearer {VALUE}",
    f"authorization: {VALUE}",
    f"Cookie: sessionid={VALUE}; theme={VALUE}",
    f"curl -H 'X-Service-Token: {VALUE}'",
    f"password: {VALUE}",
    f"secret = '{VALUE}'",
    f"login(password='{VALUE}', user='ann')",
    f'login(password="two {VALUE} words")',
    f"login(password=b'{VALUE}')",
    f"'password' => '{VALUE}'",
    f"https://u:{VALUE}@h/",
    f"amqp://a:{VALUE}@h",
    f"Basic {VALUE}",
    f'"password": "cut {VALUE} here',
    f"-----BEGIN PRIVATE KEY-----\n{VALUE}\n-----END PRIVATE KEY-----",
    f"-----BEGIN EC PRIVATE KEY-----\n{VALUE}",
    f"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.{VALUE}",
]


def record(message: object, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, arguments, None)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize("value", [*VALUES, *TEXTS], ids=repr)
def test_no_form_of_a_secret_is_logged(value: Any) -> None:
    """An extra field, an argument, a message and a traceback are masked, and each line stays valid JSON."""
    try:
        raise ValueError(str(value))
    except ValueError as error:
        failed = record("failed")
        failed.exc_info = (ValueError, error, None)
    records = [record("m", field=value), record("got %s", value), record(str(value).replace("%", "%%")), failed]
    for each in records:
        line = JsonFormatter().format(each)
        assert VALUE not in line
        assert "***" in line
        assert isinstance(json.loads(line), dict)
        assert VALUE not in ConsoleFormatter().format(each)


def test_what_stands_beside_a_secret_is_kept() -> None:
    """Only the secret is masked; the rest of the line is kept."""
    assert masked("login(password='x', user='ann')") == "login(password='***', user='ann')"
    assert masked('{"token": "x", "name": "ann"}') == '{"token": "***", "name": "ann"}'
    assert masked("GET /x?token=abc&page=2") == "GET /x?token=***&page=2"


@pytest.mark.parametrize(
    "said",
    [
        "The token has expired",
        "3 tokens left",
        "shipping to Berlin: 5 items",
        "see https://example.org:8443/a/b@c?page=2 of user a@b.example, ratio=0.5",
        "author: Ann, opinion=good",
        "the key of the order is 12",
    ],
)
def test_ordinary_texts_are_left(said: str) -> None:
    """A text with a word that might introduce a secret, but does not, is unchanged."""
    assert masked(said) == said
