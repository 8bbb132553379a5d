"""Celery: ``apply_async`` with confirms, one task for each event, as a Django view would call it."""

from celery import Celery
from exchange import Given, Message, answer, in_threads

given = Given.read()
app = Celery("order-service", broker=given.broker.replace("amqp://", "pyamqp://"))
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.task_default_queue = "peers.celery"
app.conf.task_default_queue_type = "quorum"


@app.task(name="order.placed", ignore_result=True)
def order_placed(event: dict[str, object]) -> None:
    """Stand for the work of a worker, of which there is none."""


def send(messages: list[Message]) -> None:
    """Send one after the other, over a connection of Celery's pool."""
    for name, event in messages:
        order_placed.apply_async([event], task_id=name)


answer(rabbitmq_one=given.measure(send, share=4), rabbitmq_many=given.measure(in_threads(send)))
