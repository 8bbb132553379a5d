"""Metrics of this process in Prometheus's text format."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

__all__ = ["BUCKETS", "REGISTRY", "counter", "gauge", "histogram", "render_metrics"]

M = TypeVar("M", bound=MetricWrapperBase)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the upper bounds of a histogram's buckets unless told otherwise."""

_metrics: Final[dict[str, tuple[type[MetricWrapperBase], tuple[str, ...], MetricWrapperBase]]] = {}
_lock: Final = Lock()


class _Histogram(Histogram):
    """Looks up the bucket of an observation, through which the original walks; it is part of every request and call."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        if exemplar or not hasattr(self, "_sum"):  # the original says what is wrong when a label is missing
            super().observe(amount, exemplar)
        else:
            self._sum.inc(amount)
            self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002 - Prometheus's own word
    """Return the counter of that name, made at the first call.

    Raises:
        ValueError: the name is taken by a metric of another kind or with other labels.
    """
    return _metric(Counter, name, labels, lambda: Counter(name, help, labels, registry=REGISTRY))


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: A002 - Prometheus's own word
    """Return the gauge of that name, made at the first call; raises as :func:`counter` does."""
    return _metric(Gauge, name, labels, lambda: Gauge(name, help, labels, registry=REGISTRY))


def histogram(
    name: str,
    help: str,  # noqa: A002 - Prometheus's own word
    labels: Sequence[str] = (),
    buckets: Sequence[float] = BUCKETS,
) -> Histogram:
    """Return the histogram of that name, made at the first call; raises as :func:`counter` does.

    ``buckets`` are upper bounds, in seconds where the name ends in ``_seconds``.
    """
    return _metric(Histogram, name, labels, lambda: _Histogram(name, help, labels, registry=REGISTRY, buckets=buckets))


def render_metrics() -> tuple[bytes, str]:
    """Return all metrics as bytes, and their content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def _metric(kind: type[M], name: str, labels: Sequence[str], make: Callable[[], M]) -> M:
    with _lock:
        known = _metrics.get(name)
        if known is None:
            metric = make()
            _metrics[name] = (kind, tuple(labels), metric)
            return metric
    known_kind, known_labels, known_metric = known
    if known_labels != tuple(labels) or not isinstance(known_metric, kind):
        raise ValueError(
            f"The metric {name} exists already, as a {known_kind.__name__.lower()} with labels {known_labels}. "
            f"Choose another name, or ask for it with the same kind and labels."
        )
    return known_metric
