import re
from pathlib import Path
from typing import Any

import pytest

from bandstand.conf.settings import EventsSettings
from bandstand.context import REGISTRY
from bandstand.events import housekeeping, metrics, worker
from bandstand.events.models import OutboxMessage
from bandstand.events.subscriptions import REGISTRY as SUBSCRIPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "events.md").read_text()


@pytest.mark.django_db
def test_the_examples_run() -> None:
    """Every Python block of the page runs, in order, in one namespace, and so does the test that it shows."""
    namespace: dict[str, Any] = {"__name__": "shop.events"}
    before = {subscription.name for subscription in SUBSCRIPTIONS}
    try:
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "events.md", "exec"), namespace)
        OutboxMessage.objects.all().delete()  # a test begins with empty tables
        namespace["test_a_placed_order_reserves_stock"](None)
    finally:
        for subscription in list(SUBSCRIPTIONS):
            if subscription.name not in before:
                SUBSCRIPTIONS.remove(subscription.name)


def test_the_settings_are_all_told() -> None:
    """The table names each setting, and none that is not there."""
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert told == {name.upper() for name in EventsSettings.__struct_fields__}


def test_the_metrics_are_all_told() -> None:
    """The page names each metric as Prometheus will see it."""
    assert metrics.published is not None
    names = {
        family.name for family in REGISTRY.collect() if family.name.startswith(("bandstand_events", "bandstand_outbox"))
    }
    assert all(name in PAGE for name in names)


def test_the_worker_is_what_the_page_says() -> None:
    """How often it measures, and how many connections it needs beside its handlers."""
    assert f"measured every {housekeeping._EVERY:.0f} seconds" in PAGE
    assert f"A worker needs `THREADS` + {worker._OTHER_THREADS} database" in PAGE
