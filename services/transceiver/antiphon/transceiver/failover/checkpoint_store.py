"""Checkpoints in a bucket: written beside the media path, encrypted, and each of them a lease on its session.

A checkpoint is renewed by compare-and-swap. Who finds another's in its place has lost the session and lets go of it
at once. The bucket is in memory: keys of calls never reach a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import nats.errors
import nats.js.errors
from cryptography.exceptions import InvalidTag
from nats.aio.client import Client
from nats.js.api import StorageType
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats import buckets
from antiphon.schemas import subjects
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto, identity_of, read_moved, write_moved
from antiphon.transceiver.net.endpoint import Identity, Moved
from antiphon.transceiver.session.output import MOVED
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

TTL: Final = 60.0
"""Seconds that a checkpoint outlives its last renewal, which comes every 15 s: calls of a stack that is gone."""
COALESCE: Final = 0.010
"""Seconds from the first wish for a checkpoint to its writing: what arrives meanwhile shares it."""
AT_ONCE: Final = 16
"""Reads on their way at a time."""
WRITES: Final = 4
"""The same for writes: each holds up frames for half a millisecond, and those of a turn of the loop add up."""
POLLS: Final = 40
"""Between two checkpoints of a session that speaks: 2 s."""
BYTES_A_SECOND: Final = 1 << 20
"""Of one session's checkpoints: after each it rests for as long as this takes, at least for `COALESCE`. What its client
sends makes it want one each time, and the frames of all calls share a connection with them."""
SLOW: Final = 0.002
"""Seconds of computing. A state that takes longer to write holds up the frames of all calls (16 ms where a client
leaves out messages and we keep thousands of chunks: `make fuzz-live`). It rests for `RESTS` times as long."""
RESTS: Final = 150
MAX_REST: Final = 5.0
ANSWER_WITHIN: Final = 2.0
MAX_BYTES: Final = 900_000
"""Of a checkpoint: below what NATS takes in one message."""


class Found(NamedTuple):
    """A checkpoint that somebody else wrote."""

    key: str
    revision: int
    state: SessionState


@dataclass(eq=False)
class _Entry:
    session: Session
    key: str
    revision: int = 0
    begun: bool = False
    rests_until: float = 0.0
    wanted_after_rest: bool = False
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)


class CheckpointStore:
    """The checkpoints of this process's sessions. `fenced` is called with a session that another process has taken."""

    def __init__(self, client: Client, password_key: bytes, holder: str, fenced: Callable[[Session], None]) -> None:
        self._sealing = CheckpointCrypto(password_key, holder)
        self._client = client
        self._holder = holder
        self._fenced = fenced
        self._entries: dict[str, _Entry] = {}
        self._taking: set[str] = set()
        self._wanted: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._bucket: KeyValue | None = None
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.Task[None]
        self._deleting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._wake.set()  # the bucket is made now, not with the first call
        self._writer = asyncio.create_task(self._write_forever())

    async def close(self) -> None:
        """Delete the checkpoints of the sessions that are over."""
        await tasks.end(self._writer)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN / 2):
                await asyncio.gather(*self._deleting, return_exceptions=True)
        await tasks.end(*self._deleting)

    def keep(self, session: Session, key: str, revision: int = 0) -> None:
        """Write this session down from now on."""
        session_id = session.state.session_id
        entry = self._entries[session_id] = _Entry(session, key, revision)
        if self._bucket is not None:
            self._begin(entry)
        else:
            self._wake.set()

    def keeps(self, session: Session) -> bool:
        """Also while it is being taken."""
        return session.state.session_id in self._entries or session.state.session_id in self._taking

    def forget(self, session_id: str) -> None:
        """The session is over, or no longer ours."""
        entry = self._entries.pop(session_id, None)
        self._wanted.pop(session_id, None)
        if entry is not None and entry.begun and entry.session.ended != MOVED:
            deleting = asyncio.create_task(self._delete(entry))
            self._deleting.add(deleting)
            deleting.add_done_callback(self._deleting.discard)

    def poll(self, now: float) -> None:
        """To be called every 50 ms: ask for the checkpoints whose time has come, a few at a time.

        Sessions that began together are due together, and written at once they would make frames late.
        """
        share = 1 + len(self._entries) // POLLS
        for session_id, entry in self._entries.items():
            if entry.begun and session_id not in self._wanted and entry.session.checkpoints.due(now):
                self._want(session_id)
                share -= 1
                if not share:
                    break

    async def hand_over(self, session: Session) -> bool:
        """Write the session as it is and let go of it; False if it can't be, and it goes on as before.

        If the bucket does not take it after all, whoever goes on with it begins at an older checkpoint.
        """
        entry = self._entries.get(session.state.session_id)
        if entry is None or not entry.begun:
            return False
        async with entry.writing:
            if not session.connected or self._bucket is None or not entry.revision:
                return False
            try:
                await self._write_last(self._bucket, entry)
            except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
                log.warning("session %s could not be written down: %r", session.state.session_id, error)
        return True

    async def _write_last(self, bucket: KeyValue, entry: _Entry) -> None:
        session = entry.session
        data = self._sealing.seal(entry.key, session.export(self._loop.time()))
        while len(data) > MAX_BYTES and session.state.speech.frames:
            frames = session.state.speech.frames
            del frames[len(frames) * 9 // 10 :]
            data = self._sealing.seal(entry.key, session.state.to_bytes())
        # From here on this session says nothing more: its counters are somebody else's.
        session.detach()
        del self._entries[session.state.session_id]
        async with asyncio.timeout(ANSWER_WITHIN):
            await self._put(bucket, entry, data)

    # ---- sessions of others --------------------------------------------------------------------------

    async def claim_seat(self, key: str, dead: str | None, lives: Callable[[str], bool]) -> bool:
        """Be the one process that takes over this seat of the dead process; None: of whoever does not live any more."""
        bucket = await self._ready()
        try:
            try:
                await bucket.create(key, self._holder.encode())
            except nats.js.errors.KeyWrongLastSequenceError:
                entry = await bucket.get(key)
                holder = (entry.value or b"").decode()
                if lives(holder) if dead is None else holder != dead:
                    return False
                await bucket.update(key, self._holder.encode(), last=entry.revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            return False
        return True

    async def holder_of(self, seat_key: str) -> str | None:
        """Who has taken this seat over; None if nobody has."""
        try:
            return ((await (await self._ready()).get(seat_key)).value or b"").decode()
        except nats.js.errors.KeyNotFoundError:
            return None

    async def seats_of(self, holder: str) -> list[Identity]:
        """The seats that a process has taken over."""
        await self._ready()
        return [identity_of(key) for key in await self._keys("*.*.*.seat") if await self.holder_of(key) == holder]

    async def read(self, prefix: str) -> tuple[list[Found], list[Moved]]:
        """The checkpoints below this prefix, and where others went; one that can't be read is named and left out."""
        bucket = await self._ready()
        keys = [key for key in await self._keys(f"{prefix}.*") if not key.endswith(".seat")]
        read: list[Found | Moved | None] = []
        for start in range(0, len(keys), AT_ONCE):
            read += await asyncio.gather(*(self._found(bucket, key) for key in keys[start : start + AT_ONCE]))
        found = [each for each in read if isinstance(each, Found)]
        return found, [each for each in read if isinstance(each, Moved)]

    async def find(self, key: str) -> Found | None:
        """The checkpoint of that key."""
        found = await self._found(await self._ready(), key)
        return found if isinstance(found, Found) else None

    async def _found(self, bucket: KeyValue, key: str) -> Found | Moved | None:
        try:
            entry = await bucket.get(key)
            moved = read_moved(key, entry.value or b"")
            return moved or Found(
                key, entry.revision or 0, SessionState.from_bytes(self._sealing.open(key, entry.value or b""))
            )
        except nats.js.errors.KeyNotFoundError:
            return None
        except (ValueError, InvalidTag) as error:
            log.error("checkpoint %s can't be read: %s", key, error or "another password key wrote it")
            return None

    async def _keys(self, pattern: str) -> list[str]:
        return await buckets.keys(self._client.jetstream(timeout=ANSWER_WITHIN), subjects.BUCKET_SESSIONS, pattern)

    async def take(self, session: Session, found: Found, key: str) -> bool:
        """Store a checkpoint of ours in the place of the other's; False if somebody else was first.

        Where `key` is that of another seat, it moves there, and word of that stays where it was.
        """
        session_id = session.state.session_id
        entry = _Entry(session, found.key, found.revision)
        session.checkpoints.begin(lambda: self._want(session_id), silent=True)
        plain = session.checkpoints.write(self._loop.time())
        self._taking.add(session_id)
        try:
            bucket = await self._ready()
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._put(bucket, entry, self._sealing.seal(entry.key, plain))
                if key != found.key:
                    entry = await self._move(bucket, entry, key, plain)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            log.info("session %s is not taken over: %r", session_id, error)
            return False
        finally:
            self._taking.discard(session_id)
        entry.begun = True
        self._entries[session_id] = entry
        session.checkpoints.stored()
        return True

    async def _move(self, bucket: KeyValue, entry: _Entry, key: str, plain: bytes) -> _Entry:
        """Nobody goes on from the old place any more before anything is said from the new one."""
        moved = _Entry(entry.session, key)
        await self._put(bucket, moved, self._sealing.seal(key, plain))
        word = Moved(entry.key, identity_of(key), tuple(entry.session.state.ufrags))
        try:
            await bucket.update(entry.key, write_moved(word), last=entry.revision)
        except BaseException:
            await self.delete(key)
            raise
        return moved

    async def renew(self, moved: Moved) -> bool | None:
        """Keep word of where a session went for as long as it is there.

        False: it is over. None: it is not there, and nobody has taken it out; NATS may have lost its store.
        """
        bucket = await self._ready()
        try:
            await bucket.get(subjects.checkpoint_key(*moved.to, moved.key.rpartition(".")[2]))
        except nats.js.errors.KeyNotFoundError as missing:
            return False if missing.op else None
        await bucket.put(moved.key, write_moved(moved))
        return True

    async def seats(self) -> set[Identity]:
        """Whose checkpoints there are."""
        await self._ready()
        return {identity_of(key) for key in await self._keys(">")}

    async def delete(self, key: str) -> None:
        with contextlib.suppress(Exception):
            await (await self._ready()).delete(key)

    # ---- writing -------------------------------------------------------------------------------------

    def _begin(self, entry: _Entry) -> None:
        entry.begun = True
        entry.session.checkpoints.begin(lambda: self._want(entry.session.state.session_id))

    def _rested(self, entry: _Entry) -> None:
        entry.wanted_after_rest = False
        session_id = entry.session.state.session_id
        if self._entries.get(session_id) is entry:
            self._want(session_id)

    def _want(self, session_id: str) -> None:
        entry = self._entries.get(session_id)
        if entry is not None and entry.rests_until > self._loop.time():
            if not entry.wanted_after_rest:  # one timer, however often it is wanted meanwhile
                entry.wanted_after_rest = True
                self._loop.call_at(entry.rests_until, self._rested, entry)
            return
        self._wanted[session_id] = None
        self._wake.set()

    async def _ready(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await buckets.bucket(
                self._client.jetstream(timeout=ANSWER_WITHIN), subjects.BUCKET_SESSIONS, TTL, StorageType.MEMORY
            )
        return self._bucket

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(COALESCE)
            self._wake.clear()
            try:
                bucket = await self._ready()
                for entry in self._entries.values():
                    if not entry.begun:
                        self._begin(entry)
                while self._wanted:
                    batch = [self._entries.get(key) for key in tuple(self._wanted)[:WRITES]]
                    for key in tuple(self._wanted)[:WRITES]:
                        del self._wanted[key]
                    await asyncio.gather(*(self._write(bucket, entry) for entry in batch if entry is not None))
            except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
                log.debug("no bucket for checkpoints: %r", error)
                self._bucket = None
                await asyncio.sleep(1)
                self._wake.set()

    async def _delete(self, entry: _Entry) -> None:
        # Only if it is ours still: another process may have taken the session over without our notice.
        async with entry.writing:
            with contextlib.suppress(Exception):
                if entry.revision:
                    await (await self._ready()).delete(entry.key, last=entry.revision)

    async def _write(self, bucket: KeyValue, entry: _Entry) -> None:
        async with entry.writing:
            try:
                await self._write_now(bucket, entry)
            except Exception as error:  # of one session must not be the end of all checkpoints
                complaints.exception(f"session {entry.session.state.session_id} was not written down", error)

    async def _write_now(self, bucket: KeyValue, entry: _Entry) -> None:
        session = entry.session
        if not session.connected or self._entries.get(session.state.session_id) is not entry:
            return
        computed = time.thread_time()
        data = self._sealing.seal(entry.key, session.checkpoints.write(self._loop.time()))
        computed = time.thread_time() - computed
        rest = min(MAX_REST, RESTS * computed) if computed > SLOW else COALESCE
        entry.rests_until = self._loop.time() + max(rest, len(data) / BYTES_A_SECOND)
        if len(data) > MAX_BYTES:
            log.warning("session %s: a state of %d bytes is not written down", session.state.session_id, len(data))
            return
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._put(bucket, entry, data)
        except nats.js.errors.KeyWrongLastSequenceError:
            await self._settle(bucket, entry)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            log.debug("session %s was not written down: %r", session.state.session_id, error)
            self._bucket = None
            session.checkpoints.touch()
        else:
            if session.connected:
                session.checkpoints.stored()

    async def _put(self, bucket: KeyValue, entry: _Entry, data: bytes) -> None:
        if entry.revision:
            entry.revision = await bucket.update(entry.key, data, last=entry.revision)
        else:
            entry.revision = await bucket.create(entry.key, data)

    async def _settle(self, bucket: KeyValue, entry: _Entry) -> None:
        """Another revision than ours is there: an answer was lost, the bucket was, or the session is."""
        session = entry.session
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                there = await bucket.get(entry.key)
        except nats.js.errors.KeyNotFoundError as missing:
            if missing.op:  # deleted: it was taken over, and is over there
                self._lose(session)
            else:
                entry.revision = 0
                session.checkpoints.touch()
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
            session.checkpoints.touch()
        else:
            if self._sealing.is_ours(there.value or b""):
                entry.revision = there.revision or 0
                session.checkpoints.touch()
            else:
                self._lose(session)

    def _lose(self, session: Session) -> None:
        if session.connected:
            log.warning("session %s was taken over by another process: it goes on there", session.state.session_id)
            self._fenced(session)
