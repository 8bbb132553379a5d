"""Celery: ``apply_async`` with confirms, one task for each event, as a Django view would call it."""

import time

from celery import Celery
from exchange import Given, answer

given = Given.read()
app = Celery("order-service", broker=given.broker.replace("amqp://", "pyamqp://"))
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.task_default_queue = "peers.celery"
app.conf.task_default_queue_type = "quorum"


@app.task(name="order.placed", ignore_result=True)
def order_placed(event: dict[str, object]) -> None:
    """What a worker would do."""


def send(events: list[dict[str, object]]) -> float:
    """Return the seconds."""
    begun = time.perf_counter()
    for event in events:
        order_placed.apply_async([event], task_id=event["id"])
    return time.perf_counter() - begun


send(given.events[:50])
answer(rabbitmq=send(given.events[50:]) / len(given.events[50:]))
