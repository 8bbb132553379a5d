"""Nameko: the standalone event dispatcher, with its default of confirms, persistent and mandatory."""

from exchange import Given, Message, answer, in_threads
from nameko.standalone.events import event_dispatcher

given = Given.read()
dispatch = event_dispatcher({"AMQP_URI": given.broker, "AUTO_DELETE_EVENT_EXCHANGES": False}, mandatory=True)


def send(messages: list[Message]) -> None:
    """Send one after the other, over a connection of the dispatcher's pool."""
    for _, event in messages:
        dispatch("peers.nameko", "order.placed", event)


answer(rabbitmq_one=given.measure(send, share=4), rabbitmq_many=given.measure(in_threads(send)))
