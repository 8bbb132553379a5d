"""The software of others that a platform runs on: one version of each, for `bandstand up` and for what is exported.

`bandstand up` starts PostgreSQL, Valkey, NATS and Envoy from the wheels of ``bandstand[up]``, and rendered files name
images. A test holds these images against the installed wheels, so that both are of one series.
"""

import re
from typing import Final

import msgspec

__all__ = ["CONSUL", "ENVOY", "KONG", "NATS", "POSTGRES", "PYTHON", "RABBITMQ", "VALKEY", "Release"]

_VERSION: Final = re.compile(r"\d+(?:\.\d+)*")
_TAG: Final = re.compile(r":([^/:]+)\Z")


class Release(msgspec.Struct, frozen=True):
    """A release as an image, named with a tag that does not move.

    ``parts`` is how many numbers of a version make its series: releases of one series read each other's data.
    """

    name: str
    image: str
    parts: int = 2

    @property
    def series(self) -> str:
        """The series of the image, such as ``18`` or ``4.3``."""
        return self.series_of_image(self.image)

    def series_of_image(self, image: str) -> str:
        """Return the series of another image of the same software, or nothing where it has no tag that says it."""
        tag = _TAG.search(image.partition("@")[0])
        return self.series_of(tag[1]) if tag else ""

    def series_of(self, version: str) -> str:
        """Return the series of a version, which may stand inside of a text; nothing where the text holds none."""
        found = _VERSION.search(version)
        return ".".join(found[0].split(".")[: self.parts]) if found else ""


PYTHON: Final = Release("Python", "python:3.13.7-slim-trixie")
POSTGRES: Final = Release("PostgreSQL", "postgres:18.6-trixie", parts=1)
VALKEY: Final = Release("Valkey", "valkey/valkey:9.1.4")
RABBITMQ: Final = Release("RabbitMQ", "rabbitmq:4.3.5")
NATS: Final = Release("NATS", "nats:2.15.1-alpine")
CONSUL: Final = Release("Consul", "hashicorp/consul:1.21.4")
KONG: Final = Release("Kong", "kong:3.9.3")
ENVOY: Final = Release("Envoy", "envoyproxy/envoy:v1.40.0")
