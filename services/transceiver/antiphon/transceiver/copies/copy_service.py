"""Answers requests to store copies: this region is the second of the clusters whose keys it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import CopyReply, StoreCopy
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies import sealing
from antiphon.transceiver.copies.shelf_bucket import ShelfBucket
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

QUEUE: Final = "copies"
"""One process of the cluster gets each request."""
MAX_AT_WORK: Final = 256
"""Requests that are being answered; one above that is not answered, and is sent again with newer content."""


class CopyService:
    """Owner: the process, from `start` to `close`; there is none without ANTIPHON_COPY_OF_FILE. Event loop only."""

    def __init__(
        self,
        client: Client,
        shelf: ShelfBucket,
        crypto: Mapping[int, CheckpointCrypto],
        is_taken: Callable[[Identity], bool],
    ) -> None:
        """`crypto`: of the clusters that copies are kept of. `is_taken(identity)`: its calls go on in another one."""
        self._client = client
        self._shelf = shelf
        self._crypto = crypto
        self._is_taken = is_taken
        self._at_work: set[asyncio.Task[None]] = set()

    async def start(self, cluster: int) -> None:
        """Answer from now on, as one of our own cluster."""
        await self._client.subscribe(subjects.copy_store(cluster), queue=QUEUE, cb=self._asked)

    async def close(self) -> None:
        await tasks.end(*self._at_work)

    async def _asked(self, message: Msg) -> None:
        if len(self._at_work) >= MAX_AT_WORK:
            complaints.warning(f"{MAX_AT_WORK} copies wait to be stored: further ones are left out")
            return
        work = asyncio.create_task(self._answer(message))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            reply = await self._store(messages.decode(message.data, StoreCopy))
        except MalformedError as error:
            reply = CopyReply(stored=False, reason="failed", message=str(error)[:1000])
        except BUS_ERRORS as error:
            complaints.warning(f"a copy is not stored: {error!r:.200}")
            reply = CopyReply(stored=False, reason="failed", message=f"the bucket of copies: {error!r:.200}")
        with contextlib.suppress(*BUS_ERRORS):
            await message.respond(messages.encode(reply))

    async def _store(self, copy: StoreCopy) -> CopyReply:
        crypto = self._crypto.get(copy.cluster)
        if crypto is None:
            text = f"no keys of cluster {copy.cluster} are set here (ANTIPHON_COPY_OF_FILE)"
            return CopyReply(stored=False, reason="no_key", message=text)
        try:
            sealing.opened(crypto, copy)
        except ValueError as error:
            return CopyReply(stored=False, reason="no_key", message=f"{error} (ANTIPHON_COPY_OF_FILE)"[:1000])
        if copy.taken_by or self._is_taken((copy.cluster, copy.slot, copy.epoch)):
            return CopyReply(stored=False, reason="taken", message="another cluster goes on with the call")
        match await self._shelf.store(copy):
            case "store" | "is_stored":
                return CopyReply(stored=True)
            case "stale":
                return CopyReply(stored=False, reason="stale", message="a newer copy is stored")
            case "taken":
                return CopyReply(stored=False, reason="taken", message="another cluster goes on with the call")
