"""What Prometheus asks, where, and how often."""

from typing import Any, Final

from bandstand.workspace.export.deployment import ENVOY_STATUS_PORT, KONG_STATUS_PORT, WEB_PORT, WORKER_PORT
from bandstand.workspace.manifest import Process, Workspace

__all__ = ["scrape_configuration"]

_RABBITMQ_PORT: Final = 15692


def scrape_configuration(workspace: Workspace) -> dict[str, Any]:
    """Return the configuration: every address that DNS has for a process's name is an instance of it."""
    jobs = [_job(process) for process in workspace.processes]
    jobs.append(_gateway(workspace))
    if workspace.production.broker == "rabbitmq":
        jobs.append(_by_name("rabbitmq", "rabbitmq", _RABBITMQ_PORT, path="/metrics"))
    return {
        "global": {
            "scrape_interval": "15s",
            "scrape_timeout": "10s",
            "evaluation_interval": "15s",
            "external_labels": {"platform": workspace.name},
        },
        "rule_files": ["alerts.yml"],
        "scrape_configs": jobs,
    }


def _gateway(workspace: Workspace) -> dict[str, Any]:
    if workspace.production.gateway == "envoy":
        return _by_name("gateway", "gateway", ENVOY_STATUS_PORT, path="/stats/prometheus")
    return _by_name("gateway", "gateway", KONG_STATUS_PORT, path="/metrics")


def _job(process: Process) -> dict[str, Any]:
    web = process.kind == "web"
    # A web process is reached by the name of its service, a worker by its own.
    host, port = (process.service, WEB_PORT) if web else (process.name, WORKER_PORT)
    job = _by_name(process.name, host, port, path="/metrics")
    names = {"service": process.service, "process": process.kind}
    relabelled = [{"target_label": label, "replacement": value} for label, value in names.items()]
    return {**job, "relabel_configs": relabelled}


def _by_name(job: str, host: str, port: int, *, path: str) -> dict[str, Any]:
    return {
        "job_name": job,
        "metrics_path": path,
        "dns_sd_configs": [{"names": [host], "type": "A", "port": port, "refresh_interval": "15s"}],
    }
