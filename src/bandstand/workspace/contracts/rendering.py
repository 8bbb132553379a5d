"""The files of ``contracts/``: the same bytes for the same contracts, on every machine."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from bandstand.workspace.contracts.asyncapi import asyncapi
from bandstand.workspace.contracts.model import Platform, Publication, ServiceContracts
from bandstand.workspace.export import File
from bandstand.workspace.export.yaml import yaml_text

__all__ = ["MARK", "render"]

MARK: Final = "Written by `bandstand contracts write`"
"""What every file of ours begins with, so that none of somebody else's is ever deleted."""


def render(platform: Platform) -> Iterator[File]:
    """Yield the schema of each published event, what each service reads, and the AsyncAPI document."""
    for service, publication in platform.publications():
        yield _file(publication.event.file_name, _schema(service, publication))
    for service in platform.services:
        if service.consumes:
            yield _file(f"{service.service}.consumes.json", _consumes(service))
    document = asyncapi(platform)
    comment = f"{MARK} from all services; change their events.py instead."
    yield _file("asyncapi.json", {**document, "x-comment": comment})
    yield File(path=PurePosixPath("asyncapi.yaml"), content=f"# {comment}\n{yaml_text(document)}")


def _schema(service: ServiceContracts, publication: Publication) -> dict[str, Any]:
    """``$id`` is what ``dataschema`` names in each event that travels."""
    return {
        "$comment": f"{MARK} from the events.py of {service.service}; change {publication.name} there instead.",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"bandstand:{publication.type}/{publication.version}",
        "x-publisher": service.service,
        **publication.schema,
    }


def _consumes(service: ServiceContracts) -> dict[str, Any]:
    subscriptions = [
        {
            "subscription": each.subscription,
            "pattern": each.pattern,
            "source": each.source,
            "views": [{"version": view.version, "name": view.name, "schema": view.schema} for view in each.views],
        }
        for each in service.consumes
    ]
    return {
        "$comment": f"{MARK} from the subscriptions of {service.service}; change its events.py instead.",
        "service": service.service,
        "consumes": subscriptions,
    }


def _file(name: str, value: object) -> File:
    content = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return File(path=PurePosixPath(name), content=f"{content}\n")
