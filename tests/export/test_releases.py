"""The tag of a release in labels and names: of a form that a cluster takes, and of no two releases the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.workspace.export.kubernetes.releases import job_name, version_label

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LONG = "feature-checkout-with-three-payment-providers-and-invoices-2026-"
TAGS = (
    *("1.0.0", "1-0-0", "1.0", "1-0", "1_0", "10", "v1", "V1", "v1-", "v1.", "v-1", "v.1", "1.0.0.", "1.0.0_RC1-"),
    *(f"{LONG}11-30-a1b2c3d", f"{LONG}12-01-d4e5f6a", "_", "__", "_.-", "a" * 128, "a" * 127, "-".join("ab" * 30)),
)
PREFIXES = ("user-service-migrate", f"{'s' * 41}-migrate")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_two_releases_have_a_job_of_the_same_name(prefix: str) -> None:
    """A job can't be changed: that of the next release would be refused, or taken for done."""
    names = [job_name(prefix, tag) for tag in TAGS]
    assert len(set(names)) == len(TAGS)
    assert all(map(NAME.fullmatch, names))


def test_usual_tags_are_shown_as_they_are() -> None:
    """Whoever looks for a release finds its number."""
    assert job_name("user-service-migrate", "1.4.2") == "user-service-migrate-1-4-2"
    assert job_name("user-service-migrate", "a1b2c3d") == "user-service-migrate-a1b2c3d"
    assert version_label("1.4.2_rc1") == "1.4.2_rc1"


@given(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"), st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"))
def test_whatever_an_image_may_be_called(one: str, other: str) -> None:
    """Labels and names are valid for each tag, and differ where the tags do."""
    assert LABEL.fullmatch(version_label(one))
    assert NAME.fullmatch(job_name(PREFIXES[0], one))
    if one != other:
        assert version_label(one) != version_label(other)
        assert job_name(PREFIXES[0], one) != job_name(PREFIXES[0], other)
