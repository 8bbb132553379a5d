"""What names, phone numbers, dates of birth and preferences may be."""

import json
import re
from datetime import date
from typing import Final

from django.core.exceptions import ValidationError
from django.utils import timezone

OLDEST_AGE: Final = 130  # years; the longest life on record is 122
MAX_PREFERENCES_BYTES: Final = 4096

# Control characters, line ends, and the marks that turn the direction of whatever stands around them.
_NOT_IN_A_LINE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ADDRESS: Final = re.compile(r"[^\s\x00-\x1f\x7f@]+@[^\s\x00-\x1f\x7f@]+")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_PHONE_SEPARATORS: Final = str.maketrans("", "", " .-()/")


def validate_line(text: str) -> None:
    """Accept a text that stays on its line wherever it is shown: in a list, a log or the subject of a mail.

    Raises:
        ValidationError: it holds control characters.
    """
    if _NOT_IN_A_LINE.search(text):
        raise ValidationError("Write it without line ends and control characters.", code="control_characters")


def validate_address(address: str) -> None:
    """Accept an e-mail address as `user.created` promises it: without the quoted names that RFC 5321 also allows.

    Raises:
        ValidationError: it has a space, a control character or a second @.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValidationError("Write an address without quotation marks, spaces and a second @.", code="invalid")


def normalise_phone_number(number: str) -> str:
    """Return ``number`` without the separators that people type."""
    return number.translate(_PHONE_SEPARATORS)


def validate_phone_number(number: str) -> None:
    """Accept a number in the international form of ITU-T E.164: a plus sign and 7 to 15 digits.

    Raises:
        ValidationError: it is anything else.
    """
    if not _E164.fullmatch(number):
        raise ValidationError(
            "Write the number with its country code, such as +49 30 1234567.", code="invalid_phone_number"
        )


def validate_birth_date(day: date) -> None:
    """Accept a day on which somebody alive today can have been born.

    Raises:
        ValidationError: it lies in the future or too far back.
    """
    today = timezone.localdate()
    if day > today:
        raise ValidationError("This day has not come yet.", code="date_in_future")
    if day.year < today.year - OLDEST_AGE:
        raise ValidationError(f"This is more than {OLDEST_AGE} years ago.", code="date_too_early")


def validate_preferences(preferences: object) -> None:
    """Accept a JSON object of at most 4096 bytes.

    Raises:
        ValidationError: it is no object, is too large, or holds what JSON cannot say (NaN, infinity).
    """
    if not isinstance(preferences, dict):
        raise ValidationError("Write a JSON object.", code="not_an_object")
    try:
        size = len(json.dumps(preferences, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())
    except (TypeError, ValueError) as error:
        raise ValidationError("JSON has no such value.", code="invalid_json") from error
    if size > MAX_PREFERENCES_BYTES:
        raise ValidationError(f"Write at most {MAX_PREFERENCES_BYTES} bytes.", code="preferences_too_large")
