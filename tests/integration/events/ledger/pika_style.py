"""A command as people bring it from tutorials with pika: it consumes one queue until it is told to end."""

import django

from bandstand.events import Message, MessageConsumer, MessagePublisher
from tests.integration.events.ledger.events import attempt, effect


def on_counted(message: dict, about: Message) -> None:  # type: ignore[type-arg]
    effect("number_queue", message["number"], about)
    number = attempt("number_queue", about)
    if message["do"] == "fail:1" and number == 1:
        raise ValueError("not yet")
    MessagePublisher().publish("number.seen", {"number": message["number"]}, key=about.key)


if __name__ == "__main__":
    django.setup()
    MessageConsumer("number_queue", on_counted, routing_keys=["number.counted"]).start_consuming()
