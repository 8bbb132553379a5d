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
    "Attempts to handle an event (outcome: handled, failed; not begun: duplicate, waiting)",
    ["subscription", "outcome"],
)
handler_seconds: Final = histogram(
    "bandstand_events_handler_seconds",
    "Time in the handler and its transaction (outcome: handled, failed)",
    ["subscription", "outcome"],
)
lag_seconds: Final = histogram(
    "bandstand_events_lag_seconds",
    "From the publication to the end of the handler, at the first attempt",
    ["subscription"],
)
dead: Final = counter("bandstand_events_dead_total", "Events that became dead letters", ["subscription", "reason"])
periodic_runs: Final = counter(
    "bandstand_periodic_runs_total", "Calls of periodic functions (outcome: done, failed)", ["job", "outcome"]
)
missed: Final = counter(
    "bandstand_events_missed_total", "Events that the broker dropped before the subscription got them", ["subscription"]
)
outbox_pending: Final = gauge("bandstand_outbox_pending", "Events that wait to be relayed")
outbox_oldest: Final = gauge("bandstand_outbox_oldest_age_seconds", "Age of the oldest event that waits to be relayed")
outbox_in_flight: Final = gauge("bandstand_outbox_in_flight", "Events that a relay is sending now")
outbox_parked: Final = gauge("bandstand_outbox_parked", "Events that the broker refused and that are tried again")
outbox_parked_keys: Final = gauge("bandstand_outbox_parked_keys", "Keys that wait behind a parked event")

# What is stored is the same for all workers of a service: max() over them, never sum().
deliveries: Final = gauge(
    "bandstand_events_deliveries",
    "Events that were taken over from the broker (state: waiting, retrying, running)",
    ["subscription", "state"],
)
oldest_delivery: Final = gauge(
    "bandstand_events_oldest_delivery_age_seconds", "Age of the oldest of these deliveries", ["subscription"]
)
dead_letters: Final = gauge(
    "bandstand_events_dead_letters", "Dead letters that nobody has replayed or dropped yet", ["subscription"]
)
