"""Writes the checkpoints of this process's sessions, beside the media path. Each of them is a lease on its session.

A checkpoint is renewed by compare-and-swap. When another process's is found in its place, the session is lost to that
process, and is detached here at once. What no process of ours wrote there is written over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.transceiver.failover.checkpoint_bucket import (
    ANSWER_WITHIN,
    CheckpointBucket,
    Foreign,
    Found,
    Missing,
    Ours,
    Unreadable,
)
from antiphon.transceiver.failover.checkpoint_crypto import identity_of
from antiphon.transceiver.failover.checkpoint_schedule import COALESCE, CheckpointSchedule
from antiphon.transceiver.net.endpoint import Moved
from antiphon.transceiver.net.tunnel_receiver import ingress_in
from antiphon.transceiver.session.output import MOVED
from antiphon.transceiver.session.session import Session

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)
replaced: Final = BoundedLog(log)

WRITES_AT_ONCE: Final = 4
"""Each write holds up frames for half a millisecond, and those of one iteration of the loop add up."""
AGAIN_SECONDS: Final = 1.0
"""After a call on the bucket failed."""
STORE_SECONDS: Final = 1.0
WRITE_TRIES: Final = 5
"""Of a write that can't wait, while other clients of NATS write over the key."""
MAX_BYTES: Final = 900_000
"""Of a checkpoint: below what NATS takes in one message."""


class Copier(Protocol):
    """Sends checkpoints to a second region as well: `CopyOwner`."""

    def start_copy(self, session: Session, plain: bytes) -> asyncio.Task[bool] | None:
        """A checkpoint was made. The result: its counters may be used, as far as the copy is concerned. None: they may
        be used without one."""


@dataclass(eq=False)
class _Entry:
    session: Session
    key: str
    revision: int = 0
    begun: bool = False
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    copying: asyncio.Task[None] | None = None
    """Its last checkpoint is on the way to the second region; the next one is written when that is answered."""

    @property
    def session_id(self) -> str:
        return self.session.state.session_id


class CheckpointWriter:
    """Keeps a checkpoint of each session of this process.

    Owner: the process, from its start to `close`. Event loop only; `run` is a task of its own. A `SessionListener`.
    """

    def __init__(self, bucket: CheckpointBucket, copier: Copier | None = None) -> None:
        self._bucket = bucket
        self._copier = copier
        self._schedule = CheckpointSchedule()
        self._entries: dict[str, _Entry] = {}
        self._taking: set[str] = set()
        self._wake = asyncio.Event()
        self._wake.set()  # the bucket is made now, not with the first call
        self._loop = asyncio.get_running_loop()
        self._at_work: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Finish writing, and deleting the checkpoints of sessions that have ended. `run` was cancelled before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN / 2):
                await asyncio.gather(*self._at_work, return_exceptions=True)
        await tasks.end(*self._at_work)

    def keep(self, session: Session, key: str) -> None:
        """Write checkpoints of this session from now on, under this key."""
        entry = self._entries[session.state.session_id] = _Entry(session, key)
        if self._bucket.is_open:
            self._begin(entry)
        else:
            self._wake.set()

    def keeps(self, session: Session) -> bool:
        """True as well while `take` is in flight."""
        return session.state.session_id in self._entries or session.state.session_id in self._taking

    def session_removed(self, session_id: str) -> None:
        """Delete its checkpoint, unless the session is in another process now."""
        entry = self._entries.pop(session_id, None)
        self._schedule.remove(session_id)
        if entry is not None and entry.begun and entry.session.ended != MOVED:
            deleting = asyncio.create_task(self._delete(entry))
            self._at_work.add(deleting)
            deleting.add_done_callback(self._at_work.discard)

    def poll(self, now: float) -> None:
        """To be called every 50 ms: ask for the checkpoints whose time has come."""
        for session_id in self._schedule.poll(lambda each: self._entries[each].session.checkpoints.due(now)):
            self._want(session_id)

    def write_all(self) -> None:
        """The bucket began anew: write each session again, in the order of `run`, a few at a time."""
        for entry in self._entries.values():
            if entry.begun:
                self._want(entry.session_id)

    async def run(self) -> None:
        """Write what is wanted, a few at a time, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(COALESCE)
            self._wake.clear()
            try:
                await self._bucket.open()
                for entry in self._entries.values():
                    if not entry.begun:
                        self._begin(entry)
                while self._schedule.has_wanted:
                    batch = [self._entries[session_id] for session_id in self._schedule.take(WRITES_AT_ONCE)]
                    await asyncio.gather(*map(self._write, batch))
            except BUS_ERRORS as error:
                log.debug("no bucket for checkpoints: %r", error)
                self._bucket.reopen()
                await asyncio.sleep(AGAIN_SECONDS)
                self._wake.set()

    async def store_now(self, session: Session) -> None:
        """Return when a checkpoint of the session as it is now is stored, or after `STORE_SECONDS` without one.

        At once for a session that is not connected, or without a bucket: no process could take it over.
        """
        entry = self._entries.get(session.state.session_id)
        if entry is None or not entry.begun or not session.connected:
            return
        writing = asyncio.create_task(self._write_with_copy(entry))
        self._at_work.add(writing)
        writing.add_done_callback(self._at_work.discard)
        await asyncio.wait({writing}, timeout=STORE_SECONDS)

    # ---- sessions that go to another process, or come from one -------------------------------------------

    async def hand_over(self, session: Session) -> bool:
        """Write the session with exact counters and detach it; False if that can't be, and it goes on as before.

        If the bucket does not take it after all, the process that takes the session over begins at an older checkpoint.
        """
        entry = self._entries.get(session.state.session_id)
        if entry is None or not entry.begun:
            return False
        async with entry.writing:
            if not session.connected or not self._bucket.is_open or not entry.revision:
                return False
            sealed = self._seal_last(entry)
            # From here on this session sends nothing more: its counters are the other process's.
            session.detach()
            try:
                if await self._write_over(entry, sealed) is None:
                    log.warning("session %s could not be written: another checkpoint is there", entry.session_id)
            except BUS_ERRORS as error:
                log.warning("session %s could not be written: %r", entry.session_id, error)
        return True

    def _seal_last(self, entry: _Entry) -> bytes:
        """With as much of the queued speech as fits."""
        state = entry.session.state
        sealed = self._bucket.seal(entry.key, entry.session.export(self._loop.time()))
        while len(sealed) > MAX_BYTES and state.speech.frames:
            frames = state.speech.frames
            del frames[len(frames) * 9 // 10 :]
            sealed = self._bucket.seal(entry.key, state.to_bytes())
        return sealed

    async def take(self, session: Session, found: Found, key: str) -> bool:
        """Store a checkpoint of ours in the place of the other process's; False if a third one was first.

        Where `key` is that of another endpoint, the checkpoint moves there, and a `Moved` entry stays where it was.
        """
        session_id = session.state.session_id
        entry = _Entry(session, found.key, found.revision)
        session.checkpoints.begin(lambda: self._want(session_id), silent=True)
        plain = session.checkpoints.write(self._loop.time())
        self._taking.add(session_id)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                taken = await self._store(entry, plain)
                if taken and key != found.key:
                    moved = await self._move(entry, key, plain)
                    taken, entry = moved is not None, moved or entry
        except BUS_ERRORS as error:
            log.info("session %s is not taken over: %r", session_id, error)
            return False
        finally:
            self._taking.discard(session_id)
        if not taken:
            log.info("session %s is not taken over: another process was first", session_id)
            return False
        entry.begun = True
        self._entries[session_id] = entry
        self._schedule.add(session_id)
        session.checkpoints.stored()
        return True

    async def _move(self, entry: _Entry, key: str, plain: bytes) -> _Entry | None:
        """First the new place has a checkpoint, then the old one has none: it is never taken from both."""
        there = _Entry(entry.session, key)
        if not await self._store(there, plain):
            return None
        state = entry.session.state
        header = state.path_header
        headers = (header,) if ingress_in(header) else ()
        moved = Moved(entry.key, identity_of(key), tuple(state.ufrags), headers)
        written = False
        try:
            written = await self._bucket.write_moved(moved, entry.revision)
        finally:
            if not written:
                await self._bucket.delete(key)
        return there if written else None

    async def _store(self, entry: _Entry, plain: bytes) -> bool:
        return await self._write_over(entry, self._bucket.seal(entry.key, plain)) is not None

    async def _write_over(self, entry: _Entry, sealed: bytes) -> int | None:
        """Write over our last revision, or over what no process of ours wrote; None: another process wrote there."""
        for _ in range(WRITE_TRIES):
            revision = await self._bucket.write(entry.key, sealed, entry.revision)
            if revision is not None:
                entry.revision = revision
                return revision
            writer = await self._bucket.writer_of(entry.key)
            if not isinstance(writer, Unreadable):
                return None
            entry.revision = writer.revision
        return None

    # ---- writing -------------------------------------------------------------------------------------

    def _begin(self, entry: _Entry) -> None:
        entry.begun = True
        self._schedule.add(entry.session_id)
        entry.session.checkpoints.begin(lambda: self._want(entry.session_id))

    def _want(self, session_id: str) -> None:
        self._arm(session_id, self._schedule.want(session_id, self._loop.time()))

    def _rested(self, session_id: str) -> None:
        self._arm(session_id, self._schedule.rested(session_id, self._loop.time()))

    def _arm(self, session_id: str, rests_until: float | None) -> None:
        if rests_until is not None:
            self._loop.call_at(rests_until, self._rested, session_id)
        elif self._schedule.has_wanted:
            self._wake.set()

    async def _delete(self, entry: _Entry) -> None:
        # Only if it is ours still: another process may have taken the session over without our notice.
        async with entry.writing:
            if entry.revision:
                await self._bucket.delete(entry.key, entry.revision)

    async def _write_with_copy(self, entry: _Entry) -> None:
        """As the session is now; the copy of an earlier state does not do."""
        if entry.copying is not None:
            await asyncio.wait({entry.copying})
        await self._write(entry)
        if entry.copying is not None:
            await asyncio.wait({entry.copying})

    async def _write(self, entry: _Entry) -> None:
        async with entry.writing:
            try:
                await self._write_now(entry)
            except Exception as error:  # of one session must not be the end of all checkpoints
                complaints.exception(f"session {entry.session_id} was not written", error)

    async def _write_now(self, entry: _Entry) -> None:
        session, session_id = entry.session, entry.session_id
        if not session.connected or self._entries.get(session_id) is not entry or entry.copying is not None:
            return
        computed = time.thread_time()
        plain = session.checkpoints.write(self._loop.time())
        sealed = self._bucket.seal(entry.key, plain)
        computed = time.thread_time() - computed
        self._schedule.written(session_id, len(sealed), computed, self._loop.time())
        if len(sealed) > MAX_BYTES:
            log.warning("session %s: a state of %d bytes is not written", session_id, len(sealed))
            return
        copying = self._copier.start_copy(session, plain) if self._copier is not None else None
        if copying is None:
            if await self._write_sealed(entry, sealed) and session.connected:
                session.checkpoints.stored()
            return
        stored = self._loop.create_future()
        entry.copying = asyncio.create_task(self._finish_copy(entry, copying, stored))
        self._at_work.add(entry.copying)
        entry.copying.add_done_callback(self._at_work.discard)
        try:
            stored.set_result(await self._write_sealed(entry, sealed))
        finally:
            if not stored.done():
                stored.set_result(False)

    async def _finish_copy(self, entry: _Entry, copying: asyncio.Task[bool], stored: asyncio.Future[bool]) -> None:
        """The checkpoint counts when both regions have it. A batch of writes does not wait for the second one."""
        session = entry.session
        try:
            both = await copying and await stored
        finally:
            entry.copying = None
        if not session.connected or self._entries.get(entry.session_id) is not entry:
            return
        if both:
            session.checkpoints.stored()
        else:
            session.checkpoints.touch()
        if session.checkpoints.touched:
            self._want(entry.session_id)

    async def _write_sealed(self, entry: _Entry, sealed: bytes) -> bool:
        """Whether it is stored in our own region."""
        try:
            revision = await self._bucket.write(entry.key, sealed, entry.revision)
            if revision is None:
                await self._resolve(entry)
                return False
        except BUS_ERRORS as error:
            log.debug("session %s was not written: %r", entry.session_id, error)
            self._bucket.reopen()
            entry.session.checkpoints.touch()
            return False
        entry.revision = revision
        return True

    async def _resolve(self, entry: _Entry) -> None:
        """Another revision than ours is there: an answer was lost, the bucket was, or the session is."""
        session = entry.session
        try:
            writer = await self._bucket.writer_of(entry.key)
        except BUS_ERRORS:
            session.checkpoints.touch()
            return
        match writer:
            case Ours(revision):
                entry.revision = revision
                session.checkpoints.touch()
            case Unreadable(revision):
                replaced.warning(f"session {entry.session_id}: what another client put over its checkpoint is replaced")
                entry.revision = revision
                session.checkpoints.touch()
            case Missing():
                entry.revision = 0
                session.checkpoints.touch()
            case Foreign():
                if session.connected:
                    log.warning("session %s was taken over by another process: it goes on there", entry.session_id)
                    session.detach()
