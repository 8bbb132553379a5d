"""The images of others that rendered files name: each with a version, none with one that moves."""

from typing import Final

__all__ = ["CONSUL", "ENVOY", "KONG", "NATS", "POSTGRES", "PYTHON", "RABBITMQ", "VALKEY"]

PYTHON: Final = "python:3.13.7-slim-trixie"
POSTGRES: Final = "postgres:17.6-trixie"
VALKEY: Final = "valkey/valkey:8.1.3"
RABBITMQ: Final = "rabbitmq:4.1.4"
NATS: Final = "nats:2.11.8-alpine"
CONSUL: Final = "hashicorp/consul:1.21.4"
KONG: Final = "kong:3.9.1"
ENVOY: Final = "envoyproxy/envoy:v1.40.0"
