"""Our clients in the bucket `antiphon-flows`, for relays that look there instead of asking every transceiver.

Off the packet path: the bucket follows what the demultiplexer knows, a few times a second. A process that dies leaves
its entries behind. They name an incarnation that is no longer announced, and expire after a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects

log = logging.getLogger(__name__)

FOLLOW_SECONDS: Final = 0.2
AGAIN_SECONDS: Final = 2.0
"""After a call on NATS failed."""
CHECKED_AT_ONCE: Final = 8
"""Entries, each `AGAIN_SECONDS`."""


class FlowDirectory:
    """Writes what changed of our clients into the bucket.

    Owner: the process, for its whole life, where ANTIPHON_KEEP_FLOWS is set. `run` is a task, until cancelled.
    """

    def __init__(self, client: Client, flows: Callable[[], dict[bytes, messages.FlowOwner]]) -> None:
        """`flows()`: the owner of each of our clients, by tunnel header, now."""
        self._client = client
        self._flows = flows
        self._written: dict[bytes, messages.FlowOwner] = {}

    async def run(self) -> None:
        while True:
            try:
                bucket = await buckets.bucket(self._client.jetstream(), subjects.BUCKET_FLOWS)
                self._written.clear()  # a server that came back may have lost them
                while True:
                    for _ in range(round(AGAIN_SECONDS / FOLLOW_SECONDS)):
                        await self._follow(bucket)
                        await asyncio.sleep(FOLLOW_SECONDS)
                    await self._check(bucket)
            except BUS_ERRORS as error:
                log.debug("flows are not kept: %s", error or type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, bucket: KeyValue) -> None:
        now = self._flows()
        for header, owner in now.items():
            if self._written.get(header) != owner:
                await bucket.put(subjects.flow_key(header), messages.encode(owner))
                self._written[header] = owner
        for header in self._written.keys() - now.keys():
            await self._delete_ours(bucket, subjects.flow_key(header), messages.encode(self._written[header]))
            del self._written[header]

    async def _check(self, bucket: KeyValue) -> None:
        """Write everything again if the bucket was made anew, and entries that another client of NATS put over ours.

        Looks at some of our entries, in turn: of a bucket that was made anew one is enough.
        """
        for header in list(self._written)[:CHECKED_AT_ONCE]:
            try:
                messages.decode((await bucket.get(subjects.flow_key(header))).value or b"", messages.FlowOwner)
            except KeyNotFoundError:
                self._written.clear()
                return
            except MalformedError:
                del self._written[header]
            else:
                self._written[header] = self._written.pop(header)

    async def _delete_ours(self, bucket: KeyValue, key: str, ours: bytes) -> None:
        try:
            entry = await bucket.get(key)
            if entry.value == ours:  # and not that of a transceiver which has the client now
                await bucket.delete(key, last=entry.revision)
        except KeyNotFoundError:
            pass
