"""The policies that the settings give to clients that have none of their own: one for each target."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bandstand.conf import Settings, get_settings
from bandstand.exceptions import ConfigurationError
from bandstand.resilience import Policy

__all__ = ["Policies", "configured_policies", "configured_policy"]

_TARGETS: Final = "targets"


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all targets, and for those that have something of their own."""

    default: Policy
    targets: dict[str, Policy]

    def of(self, service: str) -> Policy:
        """Return what holds for calls to ``service``."""
        return self.targets.get(service, self.default)


def configured_policy(service: str) -> Policy:
    """Return what ``BANDSTAND["CLIENT"]`` says of calls to ``service``; raises as :func:`configured_policies` does."""
    return configured_policies().of(service)


def configured_policies() -> Policies:
    """Return ``BANDSTAND["CLIENT"]``, read once for each state of the settings.

    Raises:
        ConfigurationError: with one sentence for each limit that makes no sense, whichever target it is for.
    """
    settings = get_settings()
    for known, policies in _read:
        if known is settings:
            return policies
    policies = _policies(settings.client)
    _read[:] = [(settings, policies)]
    return policies


_read: Final[list[tuple[Settings, Policies]]] = []


def _policies(written: Mapping[str, Any]) -> Policies:
    place = 'BANDSTAND["CLIENT"]'
    keys = {key.lower(): value for key, value in written.items()}
    targets = keys.pop(_TARGETS, {})
    faults = _faults(keys, place)
    if isinstance(targets, Mapping):
        for service, own in targets.items():
            where = f'{place}["TARGETS"]["{service}"]'
            faults += (
                _faults(_lowered(own), where)
                if isinstance(own, Mapping)
                else [f"{where} is {own!r}; write a dictionary."]
            )
    else:
        faults.append(f'{place}["TARGETS"] is {targets!r}; write a dictionary of dictionaries: {{"SERVICE": {{…}}}}.')
    if faults:
        raise ConfigurationError(faults)
    return Policies(
        default=Policy(**keys),
        targets={service: Policy(**{**keys, **_lowered(own)}) for service, own in targets.items()},
    )


def _lowered(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in keys.items()}


def _faults(keys: Mapping[str, Any], place: str) -> list[str]:
    """Names are upper case where they are written, and so they are in what is told of them."""
    return [f'{place}["{name.upper()}"] {text}' for name, text in Policy.faults(keys, str.upper).items()]
