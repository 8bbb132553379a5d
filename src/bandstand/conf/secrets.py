"""Secrets from files, as Docker and Kubernetes mount them: ``DATABASE_URL_FILE`` names where ``DATABASE_URL`` is."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bandstand.conf import wire

__all__ = ["read_secret_files"]


def read_secret_files(
    source: Mapping[str, str], names: Iterable[str] = wire.SECRETS
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of ``source`` with those of ``names`` that a file holds, and a sentence for each fault.

    A line end at the end of a file is not part of the secret. The faults hold no secret.
    """
    variables, faults = dict(source), []
    for name in names:
        path = source.get(f"{name}{wire.FILE_SUFFIX}", "").strip()
        if not path:
            continue
        if source.get(name, "").strip():
            faults.append(f"{name} and {name}{wire.FILE_SUFFIX} are both set; keep one.")
            continue
        try:
            variables[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            faults.append(f"{name}{wire.FILE_SUFFIX} names {path}, which can't be read: {reason}.")
            continue
        if not variables[name].strip():
            faults.append(f"{name}{wire.FILE_SUFFIX} names {path}, which is empty.")
    return variables, faults
