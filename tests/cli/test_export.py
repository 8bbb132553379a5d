"""`bandstand export`: what it writes, what it refuses, and what it says."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bandstand.cli.app import app
from bandstand.workspace.export import EXPORTERS
from tests.cli.conftest import MANIFEST


def export(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["-C", str(workspace), "export", *arguments])


@pytest.mark.parametrize("kind", EXPORTERS)
def test_it_writes_beside_the_manifest(workspace: Path, kind: str) -> None:
    """Every kind has a folder of its own below deploy/; a second time there is nothing to do."""
    first = export(workspace, kind)
    assert first.exit_code == 0, first.output
    assert (workspace / "deploy" / kind).is_dir()
    assert "is up to date" in export(workspace, kind).stdout


def test_another_folder_may_be_named(workspace: Path, tmp_path: Path) -> None:
    """--out takes any folder; for machines there is an object."""
    target = tmp_path / "there"
    told = json.loads(export(workspace, "dockerfile", "--out", str(target), "--json").stdout)
    assert told["folder"] == str(target)
    assert str(target / "Dockerfile") in told["written"]


def test_check_names_what_is_stale(workspace: Path) -> None:
    """It fails with status 1, names the file, and leaves it."""
    export(workspace, "dockerfile")
    path = workspace / "deploy" / "dockerfile" / "Dockerfile"
    path.write_text(path.read_text() + "# by hand\n")
    checked = export(workspace, "dockerfile", "--check")
    assert checked.exit_code == 1
    assert f"{path} is not what the manifest says." in checked.stderr
    assert path.read_text().endswith("# by hand\n")
    machine = export(workspace, "dockerfile", "--check", "--json")
    assert machine.exit_code == 1
    assert json.loads(machine.stdout)["changed"] == [str(path)]
    export(workspace, "dockerfile")
    assert export(workspace, "dockerfile", "--check").exit_code == 0


def test_somebody_elses_file_is_in_the_way(workspace: Path) -> None:
    """The message names it and says what to do."""
    path = workspace / "deploy" / "dockerfile" / "Dockerfile"
    path.parent.mkdir(parents=True)
    path.write_text("FROM scratch\n")
    refused = export(workspace, "dockerfile")
    assert refused.exit_code == 1
    assert str(path) in refused.stderr
    assert path.read_text() == "FROM scratch\n"


def test_what_it_can_render_is_told(workspace: Path) -> None:
    """A kind that does not exist is an error of the command line."""
    refused = export(workspace, "terraform")
    assert refused.exit_code == 2
    assert "dockerfile" in refused.stderr


def test_another_version_than_here_is_a_warning(workspace: Path, tmp_path: Path) -> None:
    """It is told on standard error and in the object, and fails nothing, with and without --check."""
    manifest = workspace / "bandstand.toml"
    manifest.write_text(f'{MANIFEST}[production]\nbroker = "nats"\nimages.nats = "nats:2.12.15-alpine"\n')
    for more in ([], ["--check"]):
        told = export(workspace, "compose", *more)
        assert told.exit_code == 0, told.output
        assert "Warning: Production runs NATS 2.12, and `bandstand up` runs 2.15 here" in told.stderr
        [warning] = json.loads(export(workspace, "compose", *more, "--json").stdout)["warnings"]
        assert "NATS 2.12" in warning
    [other] = json.loads(export(workspace, "kubernetes", "--json").stdout)["warnings"]
    assert "NATS" not in other


def test_a_gateway_that_services_can_not_know_is_a_warning(workspace: Path) -> None:
    """In Kubernetes the manifest names the network of the gateway's pods, or all clients are one."""
    [warning] = json.loads(export(workspace, "kubernetes", "--json").stdout)["warnings"]
    assert "production.gateway_networks is not written" in warning
    manifest = workspace / "bandstand.toml"
    manifest.write_text(f'{MANIFEST}[production]\ngateway_networks = ["10.244.0.0/16"]\n')
    assert json.loads(export(workspace, "kubernetes", "--json").stdout)["warnings"] == []
