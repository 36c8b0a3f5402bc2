"""The bucket of copies in the second region: calls of other clusters, each stored by swapping what was there.

Several processes of the region store, so what one remembers of an entry may be old: then NATS refuses the swap, and the
entry is read. Every method raises one of `BUS_ERRORS` when NATS fails.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import StoreCopy
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies import shelf

ANSWER_WITHIN: Final = 1.0
TRIES: Final = 4
"""Of a swap, while another process of the region stores a copy of the same call."""
MAX_REMEMBERED: Final = 4096
"""Entries whose revision is known without reading; the one not used for longest goes."""


class _Remembered(NamedTuple):
    revision: int
    stored: StoreCopy | None
    """Without what is sealed in it. None: there is nothing, or nothing of ours."""


class ShelfBucket:
    """Owner: the process, for its whole life. Event loop only; several calls may be on their way at a time."""

    def __init__(self, client: Client, process_id: str) -> None:
        self._client = client
        self._process_id = process_id
        self._bucket: KeyValue | None = None
        self._remembered: dict[str, _Remembered] = {}

    async def store(self, coming: StoreCopy) -> shelf.Verdict:
        """Store it, unless what is there may not be replaced by it."""
        key = subjects.copy_key(coming.cluster, coming.slot, coming.epoch, coming.session_id)
        present = self._remembered.get(key) or await self._read(key)
        for _ in range(TRIES):
            verdict = shelf.verdict(present.stored, coming)
            if verdict != "store":
                return verdict
            revision = await self._swap(key, coming, present.revision)
            if revision is not None:
                return "store"
            present = await self._read(key)
        raise TimeoutError(f"the copy of {coming.session_id} is written by others all the time")

    async def take(self, key: str, generation: int) -> StoreCopy | None:
        """Take a call for this process: no later copy of it is stored by any. None: it has no copy that counts."""
        for _ in range(TRIES):
            bucket = await self._open()
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    entry = await bucket.get(key)
                stored = messages.decode(entry.value or b"", StoreCopy)
            except (KeyNotFoundError, MalformedError):
                return None
            if not shelf.counts(stored, generation):
                return None
            if await self._swap(key, shelf.taken(stored, self._process_id), entry.revision or 0) is not None:
                return stored
        return None

    async def keys(self, identity: Identity) -> list[str]:
        """The keys of all copies of a transceiver's calls."""
        js = self._client.jetstream(timeout=ANSWER_WITHIN)
        await self._open()
        return await buckets.keys(js, subjects.BUCKET_COPIES, f"{subjects.checkpoint_prefix(*identity)}.*")

    async def _swap(self, key: str, value: StoreCopy, revision: int) -> int | None:
        bucket = await self._open()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                data = messages.encode(value)
                written = await (bucket.update(key, data, last=revision) if revision else bucket.create(key, data))
        except KeyWrongLastSequenceError:
            self._remembered.pop(key, None)
            return None
        except BaseException:  # no answer: it may be written
            self._remembered.pop(key, None)
            raise
        self._remember(key, written, value)
        return written

    async def _read(self, key: str) -> _Remembered:
        bucket = await self._open()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                entry = await bucket.get(key)
        except KeyNotFoundError:
            return _Remembered(0, None)
        try:
            stored: StoreCopy | None = messages.decode(entry.value or b"", StoreCopy)
        except MalformedError:  # put there by another client of NATS
            stored = None
        return _Remembered(entry.revision or 0, stored)

    def _remember(self, key: str, revision: int, value: StoreCopy) -> None:
        self._remembered.pop(key, None)
        self._remembered[key] = _Remembered(revision, value.model_copy(update={"sealed": ""}))
        if len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            js = self._client.jetstream(timeout=ANSWER_WITHIN)
            self._bucket = await buckets.bucket(js, subjects.BUCKET_COPIES)
        return self._bucket
