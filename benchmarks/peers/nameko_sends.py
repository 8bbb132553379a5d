"""Nameko: the standalone event dispatcher, with its default of confirms, persistent and mandatory."""

import time

from exchange import Given, answer
from nameko.standalone.events import event_dispatcher

given = Given.read()
dispatch = event_dispatcher({"AMQP_URI": given.broker, "AUTO_DELETE_EVENT_EXCHANGES": False}, mandatory=True)


def send(events: list[dict[str, object]]) -> float:
    """Return the seconds."""
    begun = time.perf_counter()
    for event in events:
        dispatch("peers.nameko", "order.placed", event)
    return time.perf_counter() - begun


send(given.events[:50])
answer(rabbitmq=send(given.events[50:]) / len(given.events[50:]))
