"""The service that the benchmarks of events drive: it takes orders and publishes them, and handles its own events."""
