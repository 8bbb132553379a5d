"""``manage.py make_service_key``: a new key pair for this service, made where it will be used."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from bandstand.conf import get_settings
from bandstand.identity import PublicKey, generate_key, key_set
from bandstand.identity.keys import parse_public_keys

__all__ = ["Command"]


class Command(BaseCommand):
    """Writes a private key that only its owner may read, and adds its public half to a key set."""

    help = "Make a key that signs this service's tokens, and trust it in a key set."
    requires_system_checks = ()  # they ask for the key that is to be made

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the files."""
        parser.add_argument("private", type=Path, help="the file to write the private key to; it must not exist yet")
        parser.add_argument("--trusted", type=Path, help="the key set (JWKS) to add the public half to")

    def handle(self, *, private: Path, trusted: Path | None, **_: Any) -> None:
        """Make the key.

        Raises:
            CommandError: a file can't be written, or the key set is none.
        """
        key = generate_key(get_settings().service)
        try:
            known = _known(trusted) if trusted else ()
            _write_new(private, msgspec.json.encode(key.to_jwk()))
            if trusted:
                _replace(trusted, msgspec.json.format(msgspec.json.encode(key_set([*known, key.public]))))
        except FileExistsError:
            raise CommandError(
                f"{private} exists already. Name a new file; a key in use is never overwritten."
            ) from None
        except (OSError, ValueError) as error:
            raise CommandError(f"No key was put in use: {error}") from error
        self.stdout.write(f"{key.kid} is in {private}" + (f" and is trusted in {trusted}." if trusted else "."))


def _known(trusted: Path) -> tuple[PublicKey, ...]:
    if not trusted.exists():
        return ()
    try:
        return tuple(parse_public_keys(trusted.read_bytes(), service_required=True).values())
    except ValueError as error:
        raise ValueError(f"{trusted} {error}") from error


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    """Services read the file while we write it, so it is replaced as a whole."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)
