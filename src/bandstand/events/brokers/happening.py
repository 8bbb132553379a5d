"""Waiting for an event of an event loop, but not for ever, by a task that may be told to end meanwhile.

Before Python 3.12 ``asyncio.wait_for`` loses a cancellation that comes in the moment in which what it waits for is
done: the task goes on, and whoever ended it waits (https://github.com/python/cpython/issues/86296).
``asyncio.timeout`` never does.
"""

import asyncio
from contextlib import suppress

__all__ = ["happens"]


async def happens(event: asyncio.Event, within: float) -> bool:
    """Wait at most ``within`` seconds for ``event``; say whether it happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
