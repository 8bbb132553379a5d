"""What holds for calls to one target: one frozen object."""

import random
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bandstand.conf.limits import Count, Seconds, fault
from bandstand.exceptions import ConfigurationError
from bandstand.resilience.backoff import full_jitter

__all__ = ["Policy"]

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")]
Ratio: TypeAlias = Annotated[float, Meta(gt=0, le=1, description="a share above 0, at most 1")]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=10_000, description="a number a second from 0 to 10000")]
Retries: TypeAlias = Annotated[int, Meta(ge=0, le=10, description="a whole number from 0 to 10")]
Bytes: TypeAlias = Annotated[int, Meta(ge=1, le=2**31, description="a number of bytes from 1 to 2147483648")]
Mode: TypeAlias = Annotated[Literal["auto", "open", "closed"], Meta(description='"auto", "open" or "closed"')]
Flag: TypeAlias = Annotated[bool, Meta(description="true or false")]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every call to one target; every default is safe. Times in seconds.

    ``timeout`` is that of the whole call. ``retries`` counts the tries after the first, with pauses of at most
    ``backoff_base`` doubled up to ``backoff_cap``; ``retry_budget`` is how many there may be as a share of calls, and
    ``retry_floor`` how many more a second. The breaker opens when ``breaker_ratio`` of at least ``breaker_calls`` calls
    in ``breaker_window`` failed, for ``breaker_rest``; ``breaker`` forces it. An instance is left out after
    ``ejection_failures`` in a row, for ``ejection_rest`` doubled up to ``ejection_cap``, but no more of them than
    ``ejection_share``. At most ``concurrency`` calls are under way at once. ``retry_marked`` repeats what a service
    further down has tried again in vain, which multiplies load: it is there for measuring that.

    Raises:
        ConfigurationError: a limit is missing its sense; the text names all that do.
    """

    connect_timeout: Seconds = 0.5
    timeout: Seconds = 1.0
    retries: Retries = 2
    backoff_base: Seconds = 0.025
    backoff_cap: Seconds = 0.25
    retry_budget: Share = 0.2
    retry_floor: Rate = 3.0
    retry_marked: Flag = False
    breaker: Mode = "auto"
    breaker_ratio: Ratio = 0.5
    breaker_calls: Count = 20
    breaker_window: Seconds = 10.0
    breaker_rest: Seconds = 5.0
    ejection_failures: Count = 5
    ejection_rest: Seconds = 5.0
    ejection_cap: Seconds = 60.0
    ejection_share: Share = 0.5
    concurrency: Count = 64
    max_response_bytes: Bytes = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        if faults := self.faults({name: getattr(self, name) for name in self.__struct_fields__}):
            raise ConfigurationError([f"{name} {text}" for name, text in faults.items()])

    @classmethod
    def faults(cls, values: Mapping[str, Any], written: Callable[[str], str] = str) -> dict[str, str]:
        """Return what is wrong in ``values``, by name: texts that go on from the name and say what to write instead.

        ``written`` makes of the name of a field how it is written there.
        """
        found = {name: fault(name, value, _KINDS, written=written) for name, value in values.items()}
        return {name: text for name, text in found.items() if text}

    def deadline(self, now: float, *, timeout: float | None = None, inherited: float | None = None) -> float:
        """Return the moment at which a call that begins ``now`` ends, whatever happens.

        ``timeout`` takes the place of the policy's own; ``inherited`` is the caller's deadline, which nothing extends.
        """
        end = now + (self.timeout if timeout is None else timeout)
        return end if inherited is None else min(end, inherited)

    def backoff(self, retry: int, chance: Callable[[], float] = random.random) -> float:
        """Return how many seconds to wait before retry number ``retry`` (the first is 1)."""
        return full_jitter(retry, base=self.backoff_base, cap=self.backoff_cap, chance=chance)


_KINDS: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Policy)}
