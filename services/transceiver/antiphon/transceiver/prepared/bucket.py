"""The bucket of prepared calls in NATS: written with an answer, taken out by compare-and-swap when its client comes.

Every method raises one of `BUS_ERRORS` when NATS fails. The bucket is in the memory of NATS and keeps entries for
`PREPARED_TTL`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from nats.aio.client import Client
from nats.js.errors import BadRequestError, KeyNotFoundError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import subjects

ANSWER_WITHIN: Final = 0.5
"""Seconds for each call on the bucket: the client that waits for it waits no longer."""
_OTHER_REVISION: Final = 10071
"""JetStream's code for a write whose expected revision is not the last."""


class PreparedBucket:
    """Owner: the process, for its whole life. Event loop only. Several calls may be on their way at a time."""

    def __init__(self, client: Client, cluster: int) -> None:
        self._client = client
        self._cluster = cluster
        self._bucket: KeyValue | None = None

    async def put(self, key: str, sealed: bytes) -> int:
        """Write an entry, in the place of another one under that key; returns its revision."""
        async with self._answering():
            return await (await self._open()).put(key, sealed)

    async def take(self, key: str, revision: int) -> bytes | None:
        """Take this revision out; None: it is gone, or another one is there. Two callers never both get it."""
        async with self._answering():
            bucket = await self._open()
            try:
                entry = await bucket.get(key)
                if entry.revision != revision:
                    return None
                await bucket.delete(key, last=revision)
            except KeyNotFoundError:
                return None
            except BadRequestError as error:
                if error.err_code == _OTHER_REVISION:
                    return None
                raise
            return entry.value

    async def drop(self, key: str, revision: int) -> None:
        """Delete this revision. Without NATS it expires instead: nothing is raised."""
        with contextlib.suppress(*BUS_ERRORS):
            async with self._answering():
                await (await self._open()).delete(key, last=revision)

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                yield
        except BUS_ERRORS:
            self._bucket = None  # it is looked for again with the next call
            raise

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            js = self._client.jetstream(timeout=ANSWER_WITHIN)
            self._bucket = await buckets.bucket(js, subjects.BUCKET_PREPARED, f"{self._cluster}._")
        return self._bucket
