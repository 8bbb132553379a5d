import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bandstand.context import JsonFormatter


class Lines(logging.Handler):
    """Keeps each line of the request log, decoded from what JsonFormatter made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


@pytest.fixture
def request_log() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("bandstand.request")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)
