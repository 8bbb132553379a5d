"""django-jaiminho: what an event costs in a transaction, and its relay with a confirmed publication by pika."""

import json

import pika
from exchange import Figure, Given, answer, django_with, figure, measure_rows, timed
from jaiminho.send import save_to_outbox

given = Given.read()
django_with(given, ["django.contrib.contenttypes", "jaiminho"], JAIMINHO_CONFIG={"PUBLISH_STRATEGY": "keep-order"})

from jaiminho.relayer import EventRelayer  # noqa: E402 - the settings come first

channel = pika.BlockingConnection(pika.URLParameters(given.broker)).channel()
channel.confirm_delivery()


@save_to_outbox
def publish(body: str) -> None:
    """Publish one event and wait for its confirmation; the relay calls this for each row."""
    properties = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("peers.events", "order.placed", body.encode(), properties, mandatory=True)


rows: dict[str, Figure] = {}
relayed = []
for number in range(given.rounds):
    events = given.events[number :: given.rounds]
    # The figures of the rows are those of the last round.
    rows = measure_rows(events, lambda event: publish(json.dumps(event)))
    relayed.append(timed(EventRelayer().relay, len(events)))
answer(rabbitmq=figure(relayed), **rows)
