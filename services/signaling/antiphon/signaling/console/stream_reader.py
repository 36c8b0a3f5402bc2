"""Reads pages of a stream that the owners of calls write: time lines and ended calls. Keeps nothing.

Each page has a consumer of its own with a filter, which NATS removes once nothing reads it. A page is bounded in
messages, bytes and time, and so are the pages that are read at once; who is beyond that gets 503.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.js.errors import BucketNotFoundError

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas.errors import MalformedError
from antiphon.signaling.http.errors import unavailable

MAX_PAGE: Final = 500
"""Messages of a page."""
MAX_PAGE_BYTES: Final = 2 << 20
"""A page ends with the message that passes it."""
MAX_READING: Final = 4
"""Pages at once in a process."""
_SECONDS: Final = 2.0


class Page(NamedTuple):
    """Messages of a stream in their order. A value."""

    entries: list[dict[str, Any]]
    """What `parse` made of each, with its number in the stream as `sequence`."""
    last: int
    """Number of the last one that was read; the next page comes after it."""
    more: bool
    """There are more now."""


async def read_page(
    client: Client,
    reading: asyncio.Semaphore,
    stream: str,
    subject: str,
    after: int,
    parse: Callable[[bytes], dict[str, Any]],
) -> Page:
    """The messages on a subject after number `after`; `ApiError` 503 while they can't be read.

    `reading` has a place for each page that is read at once. A message that `parse` finds malformed is left out.
    """
    if reading.locked():
        raise unavailable("busy", f"{MAX_READING} other pages are being read from NATS now: try again")
    async with reading:
        try:
            found, last, more = await _read(client, stream, subject, after)
        except BucketNotFoundError:
            text = f"there is no stream {stream} on NATS: start `antiphon setup`, which makes it"
            raise unavailable("no_stream", text, 10) from None
        except (*BUS_ERRORS, TimeoutError, nats.errors.Error) as error:
            text = f"stream {stream} can't be read: {error or type(error).__name__}"
            raise unavailable("stream_unreadable", text) from None
    entries = []
    for sequence, data in found:
        with contextlib.suppress(MalformedError):  # of another release
            entries.append({"sequence": sequence, **parse(data)})
    return Page(entries, last, more)


async def _read(client: Client, stream: str, subject: str, after: int) -> tuple[list[tuple[int, bytes]], int, bool]:
    found: list[tuple[int, bytes]] = []
    size, last = 0, after
    async with (
        asyncio.timeout(_SECONDS),
        buckets.consumer(client, stream, subject, "all", after) as (subscription, waiting),
    ):
        while waiting > 0 and len(found) < MAX_PAGE and size < MAX_PAGE_BYTES:
            message = await subscription.next_msg(_SECONDS)
            last, waiting = message.metadata.sequence.stream, message.metadata.num_pending
            found.append((last, message.data))
            size += len(message.data)
    return found, last, waiting > 0
