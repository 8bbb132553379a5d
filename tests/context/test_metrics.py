import pytest

from bandstand.context import REGISTRY, counter, gauge, histogram, render_metrics


def test_the_same_name_is_the_same_metric() -> None:
    """A module that is imported twice does not fail, and counts on."""
    counter("test_same_total", "Help.", ("kind",)).labels("a").inc()
    counter("test_same_total", "Help.", ("kind",)).labels("a").inc()
    assert REGISTRY.get_sample_value("test_same_total", {"kind": "a"}) == 2


def test_a_name_has_one_kind_and_one_set_of_labels() -> None:
    """Another kind or other labels under a known name are refused with what to do."""
    counter("test_taken_total", "Help.")
    with pytest.raises(ValueError, match="test_taken_total exists already, as a counter"):
        gauge("test_taken_total", "Help.")
    with pytest.raises(ValueError, match="ask for it with the same kind and labels"):
        counter("test_taken_total", "Help.", ("kind",))


def test_all_metrics_are_rendered() -> None:
    """The text holds our metrics and those of the process, with the content type that Prometheus expects."""
    histogram("test_rendered_seconds", "Help.", buckets=(0.1, 1.0)).observe(0.5)
    gauge("test_rendered", "Help.").set(3)
    body, content_type = render_metrics()
    assert b'test_rendered_seconds_bucket{le="0.1"} 0.0' in body
    assert b'test_rendered_seconds_bucket{le="1.0"} 1.0' in body
    assert b"test_rendered 3.0" in body
    assert b"process_resident_memory_bytes" in body
    assert content_type.startswith("text/plain; version=")


def test_an_observation_counts_in_its_bucket() -> None:
    """Bounds belong to their buckets, and what is above all of them counts in the last."""
    seen = histogram("test_bucket_seconds", "Help.", ("kind",), buckets=(0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        seen.labels("a").observe(seconds)
    counts = [
        REGISTRY.get_sample_value("test_bucket_seconds_bucket", {"kind": "a", "le": bound})
        for bound in ("0.1", "1.0", "+Inf")
    ]
    assert counts == [2, 3, 4]
    assert REGISTRY.get_sample_value("test_bucket_seconds_sum", {"kind": "a"}) == pytest.approx(7.65)


def test_an_observation_without_its_labels_is_refused() -> None:
    """A histogram with labels says that one has to be chosen."""
    with pytest.raises(ValueError, match="label"):
        histogram("test_unlabelled_seconds", "Help.", ("kind",)).observe(1)
