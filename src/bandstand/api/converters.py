"""UUIDs in addresses, in capital letters as well (RFC 9562: either case on input)."""

from typing import Final

from django.urls import register_converter
from django.urls.converters import UUIDConverter, get_converters

__all__ = ["ANY_CASE_UUID", "AnyCaseUUIDConverter", "register"]

ANY_CASE_UUID: Final = "any_case_uuid"
_DIGIT: Final = "[0-9a-fA-F]"


class AnyCaseUUIDConverter(UUIDConverter):
    """Django's converter ``uuid``, which takes lower case only, for both cases; the view gets one and the same UUID."""

    regex = f"{_DIGIT}{{8}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{12}}"


def register() -> None:
    """Make the converter known to URLconfs as ``any_case_uuid``, unless it is."""
    if ANY_CASE_UUID not in get_converters():
        register_converter(AnyCaseUUIDConverter, ANY_CASE_UUID)
