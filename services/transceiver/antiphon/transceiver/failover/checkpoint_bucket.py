"""The bucket of sessions in NATS: checkpoints, `Moved` entries, and which process has taken over which endpoint.

Only calls on the bucket; when a checkpoint is written is decided in `checkpoint_schedule`, and what a takeover does
with those of other processes in `takeover`. Every method raises one of `BUS_ERRORS` when NATS fails. The bucket is in
the memory of NATS: keys of calls never reach a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats import buckets
from antiphon.schemas import subjects
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto, identity_of
from antiphon.transceiver.net.endpoint import Moved, TransceiverIdentity
from antiphon.transceiver.session.state import SessionState

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

READS_AT_ONCE: Final = 16
"""Reads on their way at a time."""
ANSWER_WITHIN: Final = 2.0
"""Seconds for each call on the bucket."""


class Found(NamedTuple):
    """A checkpoint that another process wrote."""

    key: str
    revision: int
    state: SessionState


class Ours(NamedTuple):
    """The value under a key was written by this process."""

    revision: int


class Foreign(NamedTuple):
    """Another process wrote the value, or deleted the key: it has, or had, the session."""


class Unreadable(NamedTuple):
    """No transceiver of ours wrote the value: its place may be taken."""

    revision: int


class Missing(NamedTuple):
    """No value was ever written under the key. NATS may have lost its store."""


class CheckpointBucket:
    """Reads and writes the bucket of sessions.

    Owner: the process, for its whole life. Event loop only. Several calls may be on their way at a time.
    """

    def __init__(self, client: Client, password_key: bytes, process_id: str) -> None:
        self._client = client
        self._crypto = CheckpointCrypto(password_key, process_id)
        self._bucket: KeyValue | None = None

    # ---- the bucket itself -----------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The bucket was there at the last call."""
        return self._bucket is not None

    async def open(self) -> None:
        """Open the bucket; an error while it is not there."""
        await self._open()

    def reopen(self) -> None:
        """A call failed: look for the bucket again with the next one."""
        self._bucket = None

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            js = self._client.jetstream(timeout=ANSWER_WITHIN)
            self._bucket = await buckets.bucket(js, subjects.BUCKET_SESSIONS)
        return self._bucket

    # ---- checkpoints -----------------------------------------------------------------------------------

    def seal(self, key: str, state: bytes) -> bytes:
        """The value of a checkpoint under that key."""
        return self._crypto.seal(key, state)

    async def write(self, key: str, sealed: bytes, revision: int) -> int | None:
        """Write a checkpoint in the place of that revision (0: where there is none); returns the new revision.

        None: another revision is there.
        """
        bucket = await self._open()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                if revision:
                    return await bucket.update(key, sealed, last=revision)
                return await bucket.create(key, sealed)
        except KeyWrongLastSequenceError:
            return None

    async def writer_of(self, key: str) -> Ours | Foreign | Unreadable | Missing:
        """Which process wrote what is under this key; only what a process of ours has sealed for this key counts."""
        bucket = await self._open()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                entry = await bucket.get(key)
        except KeyNotFoundError as missing:
            return Foreign() if missing.op else Missing()
        value, revision = entry.value or b"", entry.revision or 0
        try:
            if self._crypto.open_moved(key, value) is not None:
                return Foreign()
        except (ValueError, InvalidTag):
            return Unreadable(revision)
        writer = self._crypto.writer_of(key, value)
        if writer is None:
            return Unreadable(revision)
        return Ours(revision) if self._crypto.is_ours(writer) else Foreign()

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete what is there, or only that revision. Without NATS it expires instead: nothing is raised."""
        with contextlib.suppress(Exception):
            await (await self._open()).delete(key, last=revision)

    async def read(self, prefix: str) -> tuple[list[Found], list[Moved]]:
        """The checkpoints below this prefix, and where others went; one that can't be read is logged and left out."""
        await self._open()
        keys = [key for key in await self._keys(f"{prefix}.*") if not key.endswith(".seat")]
        read: list[Found | Moved | None] = []
        for start in range(0, len(keys), READS_AT_ONCE):
            read += await asyncio.gather(*map(self._read, keys[start : start + READS_AT_ONCE]))
        return [each for each in read if isinstance(each, Found)], [each for each in read if isinstance(each, Moved)]

    async def find(self, key: str) -> Found | None:
        """The checkpoint of that key."""
        found = await self._read(key)
        return found if isinstance(found, Found) else None

    async def _read(self, key: str) -> Found | Moved | None:
        bucket = await self._open()
        try:
            entry = await bucket.get(key)
            value = entry.value or b""
            moved = self._crypto.open_moved(key, value)
            return moved or Found(key, entry.revision or 0, SessionState.from_bytes(self._crypto.open(key, value)))
        except KeyNotFoundError:
            return None
        except (ValueError, InvalidTag) as error:
            complaints.warning(f"checkpoint {key} can't be read: {error or 'it was written without our password key'}")
            return None

    async def _keys(self, pattern: str) -> list[str]:
        js = self._client.jetstream(timeout=ANSWER_WITHIN)
        return [key for key in await buckets.keys(js, subjects.BUCKET_SESSIONS, pattern) if _is_ours(key)]

    async def identities(self) -> set[TransceiverIdentity]:
        """The endpoints of which there is anything in the bucket."""
        await self._open()
        return {identity_of(key) for key in await self._keys(">")}

    # ---- sessions that have moved to another endpoint --------------------------------------------------

    async def write_moved(self, moved: Moved, revision: int) -> bool:
        """Put the entry in the place of the session's checkpoint; False if another revision is there."""
        bucket = await self._open()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await bucket.update(moved.key, self._crypto.seal_moved(moved), last=revision)
        except KeyWrongLastSequenceError:
            return False
        return True

    async def renew_moved(self, moved: Moved) -> bool | None:
        """Keep the entry for as long as the session's checkpoint is at its new place.

        False: the session has ended. None: the checkpoint is not there, and was not deleted; NATS may have lost its
        store.
        """
        bucket = await self._open()
        try:
            await bucket.get(subjects.checkpoint_key(*moved.to, moved.key.rpartition(".")[2]))
        except KeyNotFoundError as missing:
            return False if missing.op else None
        await bucket.put(moved.key, self._crypto.seal_moved(moved))
        return True

    # ---- which process has taken over which endpoint ---------------------------------------------------

    async def claim(self, identity: TransceiverIdentity, dead: str | None, is_alive: Callable[[str], bool]) -> bool:
        """Be the one process that takes over this endpoint of the process `dead`.

        `dead` None: of whichever process has it, unless that is alive.
        """
        bucket = await self._open()
        key = subjects.endpoint_claim_key(*identity)
        try:
            try:
                await bucket.create(key, self._crypto.seal(key, b""))
            except KeyWrongLastSequenceError:
                entry = await bucket.get(key)
                claimant = self._crypto.writer_of(key, entry.value or b"")
                if claimant is not None and (is_alive(claimant) if dead is None else claimant != dead):
                    return False
                await bucket.update(key, self._crypto.seal(key, b""), last=entry.revision)
        except KeyWrongLastSequenceError:
            return False
        return True

    async def claimant_of(self, identity: TransceiverIdentity) -> str | None:
        """The process that has taken this endpoint over; None if none has, or the claim is of no process of ours."""
        try:
            key = subjects.endpoint_claim_key(*identity)
            return self._crypto.writer_of(key, (await (await self._open()).get(key)).value or b"")
        except KeyNotFoundError:
            return None

    async def claimed_by(self, process_id: str) -> list[TransceiverIdentity]:
        """The endpoints that a process has taken over."""
        await self._open()
        claimed = [identity_of(key) for key in await self._keys("*.*.*.seat")]
        return [identity for identity in claimed if await self.claimant_of(identity) == process_id]


def _is_ours(key: str) -> bool:
    """Whether a transceiver may have written it; other clients of NATS may get others into the bucket."""
    try:
        identity_of(key)
    except ValueError:
        return False
    return True
