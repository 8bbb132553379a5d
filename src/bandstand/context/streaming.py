"""A streamed body is made after the middleware has returned; here each piece of it is made with the context bound."""

from collections.abc import AsyncIterator, Iterator
from typing import cast

from django.http.response import StreamingHttpResponse

from bandstand.context.binding import bind
from bandstand.context.values import Context

__all__ = ["keep_bound"]


def keep_bound(response: StreamingHttpResponse, context: Context) -> None:
    """Let ``response`` make its body under ``context``; a file is left alone, the server sends it by itself."""
    if getattr(response, "file_to_stream", None) is not None:
        return
    if response.is_async:
        response.streaming_content = _async_pieces(cast("AsyncIterator[bytes]", response.streaming_content), context)
    else:
        response.streaming_content = _pieces(cast("Iterator[bytes]", response.streaming_content), context)


def _pieces(content: Iterator[bytes], context: Context) -> Iterator[bytes]:
    while True:
        with bind(context):
            try:
                piece = next(content)
            except StopIteration:
                return
        yield piece


async def _async_pieces(content: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    while True:
        with bind(context):
            try:
                piece = await anext(content)
            except StopAsyncIteration:
                return
        yield piece
