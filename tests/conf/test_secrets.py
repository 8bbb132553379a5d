"""Secrets from files, as Docker and Kubernetes mount them."""

from pathlib import Path

import pytest

from bandstand.conf import ServiceEnvironment, wire
from bandstand.conf.secrets import read_secret_files
from bandstand.exceptions import ConfigurationError

SECRETS = {
    "SECRET_KEY": "b7Jp2vN9xQ4sT8wY1zA5dF6gH3kL0mC-eRuIoPqWnXjZlBtVcS",
    "DATABASE_URL": "postgresql://users:s3cret@postgres:5432/users",
    "CACHE_URL": "redis://users:s3cret@valkey:6379/0",
    "BROKER_URL": "amqp://users:s3cret@rabbitmq:5672/shop",
    "EMAIL_URL": "smtp://users:s3cret@mail:587",
}
PLAIN = {"ALLOWED_HOSTS": "shop.example"}


def write(folder: Path, **secrets: str) -> dict[str, str]:
    for name, value in secrets.items():
        (folder / name).write_text(value)
    return {f"{name}_FILE": str(folder / name) for name in secrets}


def faults(source: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        ServiceEnvironment.read("user-service", source)
    return list(raised.value.faults)[1:-1]


def test_every_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """A service starts without a single secret in its environment; the line end of a file is not part of it."""
    files = write(tmp_path, **{name: f"{value}\n" for name, value in SECRETS.items()})
    environment = ServiceEnvironment.read("user-service", PLAIN | files)
    assert environment.secret_key == SECRETS["SECRET_KEY"]
    assert environment.database["PASSWORD"] == "s3cret"
    assert environment.cache["LOCATION"] == SECRETS["CACHE_URL"]
    assert environment.bandstand()["EVENTS"]["BROKER_URL"] == SECRETS["BROKER_URL"]
    assert "s3cret" in str(environment.email)


def test_a_file_is_as_suspicious_as_a_variable(tmp_path: Path) -> None:
    """A development secret is refused in production wherever it comes from."""
    files = write(tmp_path, **SECRETS | {"SECRET_KEY": f"{wire.DEVELOPMENT_MARK}{SECRETS['SECRET_KEY']}"})
    [fault] = faults(PLAIN | files)
    assert fault.startswith("SECRET_KEY holds a secret made for development")


def test_all_faults_of_files_are_told_at_once(tmp_path: Path) -> None:
    """Each is one sentence that names the variable and the file, and no echo follows it."""
    files = write(tmp_path, SECRET_KEY="\n", CACHE_URL=SECRETS["CACHE_URL"])
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    source = (
        PLAIN
        | files
        | {
            "CACHE_URL": SECRETS["CACHE_URL"],
            "DATABASE_URL_FILE": str(tmp_path / "nowhere"),
            "BROKER_URL_FILE": str(tmp_path / "binary"),
        }
    )
    assert sorted(faults(source)) == [
        f"BROKER_URL_FILE names {tmp_path / 'binary'}, which can't be read: it is not text in UTF-8.",
        "CACHE_URL and CACHE_URL_FILE are both set; keep one.",
        f"DATABASE_URL_FILE names {tmp_path / 'nowhere'}, which can't be read: No such file or directory.",
        f"SECRET_KEY_FILE names {tmp_path / 'SECRET_KEY'}, which is empty.",
    ]


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    """DEBUG_FILE is nothing that anybody reads."""
    variables, found = read_secret_files({"DEBUG_FILE": str(tmp_path / "nowhere")})
    assert "DEBUG" not in variables
    assert found == []
