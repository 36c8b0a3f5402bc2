"""The hub's bucket of copy leases: reads and swaps. Every method raises one of `BUS_ERRORS` when the hub fails."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import CopyLease
from antiphon.schemas.slot_moves import Identity

ANSWER_WITHIN: Final = 0.7
"""Seconds: of a lease of 2 s, two renewals may be lost."""


class Hub(Protocol):
    """The connection to the hub, which comes and goes."""

    @property
    def client(self) -> Client | None:
        """None: the hub can't be reached now."""


class LeaseBucket:
    """Owner: the process, for its whole life. Event loop only; several calls may be on their way at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opened: tuple[Client, KeyValue] | None = None

    @property
    def client(self) -> Client | None:
        """Of the hub, while it is connected."""
        return self._hub.client

    async def read(self, identity: Identity) -> tuple[CopyLease, int] | None:
        """The lease on this transceiver's calls, and its revision; None: there is none."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                entry = await (await self._open()).get(subjects.copy_lease_key(*identity))
            return messages.decode(entry.value or b"", CopyLease), entry.revision or 0
        except KeyNotFoundError:
            return None
        except MalformedError as error:  # only transceivers may write here
            raise TimeoutError(f"the lease of {identity}: {error}") from None

    async def swap(self, lease: CopyLease, revision: int) -> int | None:
        """Write it in the place of that revision (0: where there is none); the new revision. None: another is there."""
        key = subjects.copy_lease_key(lease.cluster, lease.slot, lease.epoch)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                bucket, data = await self._open(), messages.encode(lease)
                return await (bucket.update(key, data, last=revision) if revision else bucket.create(key, data))
        except KeyWrongLastSequenceError:
            return None

    async def _open(self) -> KeyValue:
        client = self._hub.client
        if client is None:
            raise ConnectionClosedError
        if self._opened is None or self._opened[0] is not client:
            js = client.jetstream(timeout=ANSWER_WITHIN)
            self._opened = client, await buckets.bucket(js, subjects.BUCKET_COPY_LEASES)
        return self._opened[1]
