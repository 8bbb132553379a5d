"""How the manifest becomes what Prometheus and Grafana read."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bandstand.workspace.export import install
from bandstand.workspace.export.monitoring import render_monitoring
from bandstand.workspace.manifest import Workspace, load
from tests.programs import require_program

ROOT = Path(__file__).parents[2]
SHOP = load(ROOT / "shop" / "bandstand.toml")
BUILT_IN = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
# Envoy's own; tests/integration/gateway finds them in a running one.
OF_ENVOY = {"envoy_cluster_membership_healthy", "envoy_cluster_upstream_rq_pending_overflow"}
# Kong's own, by the source of its plugin (which exports them where upstream_health_metrics is on).
OF_KONG = {"kong_upstream_target_health"}
# What Prometheus itself gives each sample: of the job, of a histogram, and a metric's own `service` beside the job's.
GIVEN_LABELS = {"service", "process", "le", "exported_service", "envoy_cluster_name", "upstream", "state"}
FUNCTIONS = {"sum", "by", "rate", "max", "min", "histogram_quantile", "topk", "le", "without", "label_values"}


def behind(gateway: str) -> Workspace:
    production = msgspec.structs.replace(SHOP.production, gateway=gateway)
    return msgspec.structs.replace(SHOP, production=production)


@pytest.fixture(scope="module", params=["kong", "envoy"])
def rendered(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    files = {str(file.path): file.content for file in render_monitoring(behind(request.param))}
    return {name: json.loads(text) if name.endswith("json") else yaml.safe_load(text) for name, text in files.items()}


def declared() -> dict[str, set[str]]:
    """The samples that services have, with the labels of each, as their code declares them."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "bandstand").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                name = node.args[0]
                if node.func.id in {"counter", "gauge", "histogram"} and isinstance(name, ast.Constant):
                    labels = set(ast.literal_eval(node.args[2])) if len(node.args) > 2 else set()
                    for suffix in ("_bucket", "_count", "_sum") if node.func.id == "histogram" else ("",):
                        found[f"{name.value}{suffix}"] = labels
    return found


def expressions(rendered: Mapping[str, Any]) -> Iterator[str]:
    for group in rendered["alerts.yml"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in rendered["dashboard.json"]["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def metrics(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)', " ", expression)
    return {name for name in re.findall(r"[a-z_]{2,}", bare) if name not in FUNCTIONS}


def labels(expression: str) -> set[str]:
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")}
    return grouped | set(re.findall(r"[{,]\s*([a-z_]+)\s*(?:=~|!=|=)", expression))


def test_every_metric_exists(rendered: Mapping[str, Any]) -> None:
    """A panel that shows nothing and an alert that never rings are worse than none."""
    known = set(declared()) | BUILT_IN | OF_ENVOY | OF_KONG
    assert len(known) > 20
    asked = {name for expression in expressions(rendered) for name in metrics(expression)}
    assert asked
    assert asked <= known, asked - known


def test_every_label_exists(rendered: Mapping[str, Any]) -> None:
    """What is grouped and chosen by is a label of the metric, or one that Prometheus gives."""
    samples = declared()
    for expression in expressions(rendered):
        known = GIVEN_LABELS.union(*(samples.get(name, set()) for name in metrics(expression)))
        assert labels(expression) <= known, expression


def test_texts_name_labels_that_are_left() -> None:
    """A summary can only tell of what its expression groups by."""
    for gateway in ("kong", "envoy"):
        [alerts] = [file for file in render_monitoring(behind(gateway)) if file.path.name == "alerts.yml"]
        for group in yaml.safe_load(alerts.content)["groups"]:
            for rule in group["rules"]:
                named = set(re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]))
                assert named <= labels(rule["expr"]) | {"service", "process"}, rule["alert"]


def test_every_process_is_scraped(rendered: Mapping[str, Any]) -> None:
    """Web processes by the name of their service, workers by their own, each with the labels that alerts use."""
    jobs = {job["job_name"]: job for job in rendered["prometheus.yml"]["scrape_configs"]}
    for process in SHOP.processes:
        job = jobs[process.name]
        [place] = job["dns_sd_configs"]
        expected = (process.service, 8000) if process.kind == "web" else (process.name, 9100)
        assert (place["names"][0], place["port"]) == expected
        given = {each["target_label"]: each["replacement"] for each in job["relabel_configs"]}
        assert given == {"service": process.service, "process": process.kind}


def test_every_alert_says_what_to_do(rendered: Mapping[str, Any]) -> None:
    """Who is woken gets a sentence on what is wrong, and one on where to look."""
    rules = [rule for group in rendered["alerts.yml"]["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_panels_do_not_lie_on_each_other(rendered: Mapping[str, Any]) -> None:
    """Each has a place and a number of its own."""
    panels = rendered["dashboard.json"]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.export
@pytest.mark.parametrize("gateway", ["kong", "envoy"])
def test_prometheus_accepts_it(tmp_path: Path, gateway: str) -> None:
    """promtool reads the configuration and every expression."""
    promtool = require_program("promtool")
    install(render_monitoring(behind(gateway)), tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_every_alert_is_documented() -> None:
    """Under the severity that it has."""
    page = (ROOT / "docs" / "how-to" / "run-in-production.md").read_text()
    [alerts] = [file for file in render_monitoring(behind("envoy")) if file.path.name == "alerts.yml"]
    rules = [rule for group in yaml.safe_load(alerts.content)["groups"] for rule in group["rules"]]
    for severity, heading in (("page", "| Page |"), ("ticket", "| Ticket |")):
        table = page.split(heading)[1].split("\n\n")[0]
        assert set(re.findall(r"`([A-Z]\w+)`", table)) == {
            rule["alert"] for rule in rules if rule["labels"]["severity"] == severity
        }
