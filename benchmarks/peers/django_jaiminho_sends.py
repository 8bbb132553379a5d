"""django-jaiminho: what an event costs in a transaction, and its relay with a confirmed publication by pika."""

import json
import time

import pika
from exchange import Given, answer, django_with, measure_rows
from jaiminho.send import save_to_outbox

given = Given.read()
django_with(given, ["django.contrib.contenttypes", "jaiminho"], JAIMINHO_CONFIG={"PUBLISH_STRATEGY": "keep-order"})

from jaiminho.relayer import EventRelayer  # noqa: E402 - the settings come first

channel = pika.BlockingConnection(pika.URLParameters(given.broker)).channel()
channel.confirm_delivery()


@save_to_outbox
def publish(body: str) -> None:
    """What the relay calls for each row."""
    properties = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("peers.events", "order.placed", body.encode(), properties, mandatory=True)


rows = measure_rows(given.events, lambda event: publish(json.dumps(event)))
begun = time.perf_counter()
EventRelayer().relay()
answer(rabbitmq=(time.perf_counter() - begun) / len(given.events), **rows)
