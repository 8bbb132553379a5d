"""Messages to NATS as they go over the wire, many in one piece: the client's own ``publish`` sends each by itself."""

from nats.aio.client import Client

__all__ = ["frame", "send_frames"]


def frame(subject: str, payload: bytes) -> bytes:
    """Return a message without headers and without a subject for the reply."""
    return b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)


async def send_frames(client: Client, frames: bytes) -> None:
    """Send what was put together, if it is anything.

    Raises:
        OSError, nats.errors.Error: the connection is lost.
    """
    if not frames:
        return
    if not client.is_connected:
        raise ConnectionError("the connection is lost")
    # The client has no public way to send several messages in one piece; its own publish() ends with these two.
    await client._send_command(frames)  # noqa: SLF001
    await client._flush_pending()  # noqa: SLF001
