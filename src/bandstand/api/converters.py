"""A path converter for UUIDs in either case (RFC 9562 requires both on input)."""

from typing import Final

from django.urls import register_converter
from django.urls.converters import UUIDConverter, get_converters

__all__ = ["ANY_CASE_UUID", "AnyCaseUUIDConverter", "register"]

ANY_CASE_UUID: Final = "any_case_uuid"
_DIGIT: Final = "[0-9a-fA-F]"


class AnyCaseUUIDConverter(UUIDConverter):
    """Django's converter ``uuid`` for either case; Django's own takes lower case only."""

    regex = f"{_DIGIT}{{8}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{12}}"


def register() -> None:
    """Register the converter as ``any_case_uuid``, unless it is registered."""
    if ANY_CASE_UUID not in get_converters():
        register_converter(AnyCaseUUIDConverter, ANY_CASE_UUID)
