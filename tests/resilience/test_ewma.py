import pytest

from bandstand.resilience import PeakEwma


def test_nothing_observed_is_nothing() -> None:
    """An instance that nobody has asked yet costs nothing."""
    assert PeakEwma().value(1000.0) == 0.0


def test_a_peak_counts_at_once() -> None:
    """One slow answer is the average from then on, so that the next call goes elsewhere."""
    average = PeakEwma()
    for number in range(10):
        average.observe(0.01, 1000.0 + number)
    average.observe(1.0, 1010.0)
    assert average.value(1010.0) == 1.0


def test_quick_answers_bring_it_down_slowly() -> None:
    """After a peak each quick answer lowers the average by the weight of the time that has passed."""
    average = PeakEwma()
    average.observe(1.0, 1000.0)
    seen = []
    for number in range(1, 31):
        average.observe(0.01, 1000.0 + number)
        seen.append(average.value(1000.0 + number))
    assert seen == sorted(seen, reverse=True)
    assert seen[4] == pytest.approx(0.374, abs=0.01)  # 5 s: 37 % of the peak is left
    assert seen[29] == pytest.approx(0.0125, abs=0.001)


def test_it_fades_when_nothing_is_observed() -> None:
    """What was long ago says little: an instance that nobody asks becomes worth a try."""
    average = PeakEwma()
    average.observe(1.0, 1000.0)
    assert average.value(1005.0) == pytest.approx(0.368, abs=0.001)
    assert average.value(1060.0) < 0.00001
