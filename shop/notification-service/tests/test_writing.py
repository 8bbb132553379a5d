"""What the mails say, whatever the others tell."""

from decimal import Decimal

import pytest

from notifications import writing

ORDER = "0b6e7c1e-7f0f-4e0f-9f5b-0a4d6a9b3c11"


@pytest.mark.parametrize(
    ("names", "greeting"),
    [
        (("Ada", "ada99"), "Hello Ada,"),
        (("", "ada"), "Hello ada,"),
        (("Zoë Anne-Marie O’Neil", ""), "Hello Zoë Anne-Marie O’Neil,"),
        (("李小龍", "x"), "Hello 李小龍,"),
        (("अनीता", "x"), "Hello अनीता,"),
        (("", ""), "Hello,"),
        (("", "ada99"), "Hello,"),
        (("Win http://evil.example", "evil.example"), "Hello,"),
        (("www.evil.example", "me@evil.example"), "Hello,"),
        (("call 0900 123456", ""), "Hello,"),
        (("Ada\nBcc: all@example.com", "ada\r\nx"), "Hello,"),
        (("<b>Ada</b>", "a_b"), "Hello,"),
        (("Ada\u202e", "\u200b"), "Hello,"),
        (("a" * 51, "b"), "Hello b,"),
        (("  ", "- -"), "Hello,"),
    ],
)
def test_a_stranger_chooses_no_word_of_a_welcome(names: tuple[str, str], greeting: str) -> None:
    """A name is letters; what could be a link, a number to call or a line of its own is left out."""
    text = writing.welcome(*names)
    assert text.body.splitlines()[0] == greeting
    assert text.subject == "Welcome to the shop"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("Desk lamp: only 1 left.", "Desk lamp: only 1 left."),
        ("Lamp\r\nBcc: all@example.com\r\n\r\nBuy!", "Lamp Bcc: all@example.com Buy!"),
        ("a\x00b\x1b[31m\u202ec", "a b [31m c"),
        ("x" * 9000, "x" * 500),
        ("", ""),
    ],
)
def test_a_reason_is_one_line(reason: str, shown: str) -> None:
    """A product's name with line breaks or control characters stays where it belongs, and has an end."""
    text = writing.order_rejected(ORDER, reason)
    assert text.body.splitlines()[2] == shown
    assert len(text.body.splitlines()) == 5


def test_subjects_are_one_line() -> None:
    """Each subject is made of our words and the beginning of the order's number."""
    for text in (
        writing.order_confirmed(ORDER, Decimal("19.90"), "EUR"),
        writing.order_rejected(ORDER, "reason"),
        writing.order_cancelled(ORDER),
    ):
        assert text.subject.isprintable()
        assert "0b6e7c1e" in text.subject
        assert ORDER in text.body
