"""What this process counts about events."""

from typing import Final

from bandstand.context import counter, gauge, histogram

published: Final = counter("bandstand_events_published_total", "Events written to the outbox", ["type"])
relayed: Final = counter("bandstand_events_relayed_total", "Events that the broker confirmed", ["type"])
relay_failures: Final = counter(
    "bandstand_events_relay_failures_total", "Events that the broker did not take", ["error"]
)
attempts: Final = counter(
    "bandstand_events_attempts_total",
    "Attempts to handle an event (outcome: handled, duplicate, waiting, failed, dead)",
    ["subscription", "outcome"],
)
handler_seconds: Final = histogram(
    "bandstand_events_handler_seconds", "Time in the handler and its transaction", ["subscription"]
)
lag_seconds: Final = histogram(
    "bandstand_events_lag_seconds",
    "From the publication to the end of the handler, at the first attempt",
    ["subscription"],
)
dead: Final = counter("bandstand_events_dead_total", "Events that became dead letters", ["subscription", "reason"])
outbox_pending: Final = gauge("bandstand_outbox_pending", "Events that wait to be relayed")
outbox_oldest: Final = gauge("bandstand_outbox_oldest_age_seconds", "Age of the oldest event that waits to be relayed")
