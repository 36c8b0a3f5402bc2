"""The bucket of leases as one instance of an agent uses it: written by compare-and-swap, so that one instance wins.

A write may succeed although we gave up waiting for its answer, and the bucket may be lost with its server and begin
anew. So what is known of a lease here is looked up again whenever a write fails at its revision. `lease_table` says
when to write, `keeper` what follows from a lease that was won or lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakKeyDictionary

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.lease_crypto import LeaseCrypto, SealedLeaseError
from antiphon.runtime.agent_sessions.lease_table import HeldLease
from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import Lease

log = logging.getLogger(__name__)

_ATTEMPT_SECONDS: Final = 2.0
_DELETE_TRIES: Final = 3
_MAX_REFUSED: Final = 1000
_WRONG_LAST_SEQUENCE: Final = (10071, 10164)
"""What JetStream says to a write at a revision that is not the last."""


class LeaseBucket:
    """Writes leases of ours, finds free ones.

    Owner: the keeper, for the life of the process. Called from the event loop. `lost(lease, holder)` is called when a
    lease of ours turns out to be another instance's, or free (holder ""). While NATS is away its errors are raised, by
    all but `attempt` and `delete`.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        instance: str,
        lost: Callable[[Lease, str], None],
        crypto: LeaseCrypto | None = None,
    ) -> None:
        """`crypto` None: leases are written in clear, and without words where the bucket is on disk."""
        self._agent, self._instance, self._lost = agent, instance, lost
        self._client = client
        self._js = client.jetstream(timeout=_ATTEMPT_SECONDS)
        self._crypto = crypto
        self._on_disk = True
        """As far as we know: nothing else was said."""
        self._said_on_disk = False
        self._bucket: KeyValue | None = None
        self._refused: set[str] = set()
        """Leases that were refused, named once each in the log."""
        self._locks: WeakKeyDictionary[HeldLease, asyncio.Lock] = WeakKeyDictionary()
        """One write of a lease at a time."""

    def _lock_of(self, held: HeldLease) -> asyncio.Lock:
        return self._locks.setdefault(held, asyncio.Lock())

    async def attempt(self, work: Awaitable[None], name: str) -> bool:
        """Do something that may fail while NATS is away; False if it did. `name` is the one in the log."""
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                await work
        except (nats.errors.Error, TimeoutError, OSError) as error:
            log.warning("%s: leases cannot be kept at the moment: %s", name, error or type(error).__name__)
            self._bucket = None
            return False
        return True

    async def _kv(self) -> KeyValue:
        if self._bucket is None:
            bucket = await buckets.bucket(self._js, subjects.BUCKET_LEASES, subjects.LEASE_STORAGE_KEY)
            await self._look_at_storage(bucket)
            self._bucket = bucket
        return self._bucket

    async def _look_at_storage(self, bucket: KeyValue) -> None:
        try:
            storage = (await bucket.get(subjects.LEASE_STORAGE_KEY)).value
            if storage in (b"memory", b"file"):  # else another client of NATS wrote it, and what we know holds
                self._on_disk = storage == b"file"
        except KeyNotFoundError:  # not yet: `antiphon setup` makes the bucket first
            self._on_disk = True
        if self._on_disk and self._crypto is None and not self._said_on_disk:
            log.error(
                "bucket %s is on disk (ANTIPHON_LEASES_STORAGE of `antiphon setup`) and ANTIPHON_LEASE_KEY_FILE is not "
                "set here: what is said in calls is not written, and an instance that takes one over begins anew",
                subjects.BUCKET_LEASES,
            )
        self._said_on_disk = self._on_disk

    def _encoded(self, lease: Lease) -> bytes:
        """As it goes into the bucket: sealed, or in clear where that reaches no disk."""
        if self._crypto is not None:
            return messages.encode(self._crypto.seal(lease))
        return messages.encode(lease.model_copy(update={"session": {}, "state": {}}) if self._on_disk else lease)

    def _opened(self, lease: Lease) -> Lease:
        if self._crypto is not None:
            return self._crypto.open(lease)
        if lease.sealed:
            raise SealedLeaseError("it is encrypted, and ANTIPHON_LEASE_KEY_FILE is not set here")
        return lease

    # ---- leases of ours

    async def check_and_write(self, held: HeldLease) -> None:
        """What `held.is_due` asks for."""
        if held.unverified and held.revision:
            await self._find_again(held)
            held.unverified = False
        if held.dirty or held.is_old(time.monotonic()):
            await self.write(held)

    async def write(self, held: HeldLease) -> None:
        """Write a lease of ours, unless it is no longer ours."""
        async with self._lock_of(held):
            if held.revision >= 0 and not held.released:
                await self._write_now(held)

    async def _write_now(self, held: HeldLease) -> None:
        bucket, key, written = await self._kv(), _key(held.lease), held.lease
        try:
            if held.revision:  # of the bucket that we know: an update succeeds in no other
                held.revision = await bucket.update(key, self._encoded(written), last=held.revision)
            else:
                await self._look_at_storage(bucket)  # may have been made anew, on disk
                held.revision = await bucket.create(key, self._encoded(written))
        except KeyWrongLastSequenceError:
            await self._find_again(held)
            held.dirty = True
            return
        held.written = time.monotonic()
        held.dirty = held.lease is not written

    async def _find_again(self, held: HeldLease) -> None:
        """The bucket may know better: another holder, or nothing at all (it was lost with its server)."""
        try:
            entry = await (await self._kv()).get(_key(held.lease))
            there = messages.decode(entry.value or b"", Lease)
        except KeyNotFoundError:
            held.revision, held.dirty = 0, True
            return
        except MalformedError:
            held.revision, held.dirty = entry.revision or 0, True
            return
        if there.instance == self._instance:
            held.revision = entry.revision or 0
            return
        held.revision = -1
        self._lost(held.lease, there.instance)

    async def delete(self, held: HeldLease) -> None:
        """Take a lease of ours out of the bucket, whatever of it is being written at this moment."""
        held.released = True
        async with self._lock_of(held):
            if held.revision or self._bucket is not None:  # else nothing of it was ever written
                await self.attempt(self._delete_key(held), held.lease.session_id)

    async def _delete_key(self, held: HeldLease) -> None:
        bucket, key = await self._kv(), _key(held.lease)
        for _ in range(_DELETE_TRIES):
            if not held.revision:  # a write was given up, and may have come in all the same
                held.revision = await self._own_revision(bucket, key)
            if not held.revision:
                return
            try:
                await bucket.delete(key, last=held.revision)
                return
            except APIError as error:  # nats-py gives this one a name of its own for writes only
                if error.err_code not in _WRONG_LAST_SEQUENCE:
                    raise
                held.revision = 0

    async def _own_revision(self, bucket: KeyValue, key: str) -> int:
        """Where a lease of ours stands in the bucket; 0 if there is none, or another instance's."""
        try:
            entry = await bucket.get(key)
            own = messages.decode(entry.value or b"", Lease).instance == self._instance
        except (KeyNotFoundError, MalformedError):
            return 0
        return entry.revision or 0 if own else 0

    # ---- leases of others

    async def free_leases(self, is_dead: Callable[[str], bool]) -> list[tuple[Lease, int]]:
        """Look through all leases of the agent once: those whose holder is gone, with their revisions."""
        found: list[tuple[Lease, int]] = []
        keys = subjects.lease_keys(self._agent)
        for entry in await buckets.entries(self._client, subjects.BUCKET_LEASES, keys):
            try:
                lease = messages.decode(entry.value, Lease)
            except MalformedError as error:
                log.warning("lease %s: %s", entry.key, error)
                continue
            if not is_dead(lease.instance):
                continue
            try:
                if subjects.lease_key(lease.agent, lease.session_id) != entry.key:
                    raise SealedLeaseError(f"it is of {lease.agent}.{lease.session_id}")
                found.append((self._opened(lease), entry.revision))
            except (SealedLeaseError, MalformedError) as error:
                if len(self._refused) < _MAX_REFUSED and entry.key not in self._refused:
                    self._refused.add(entry.key)
                    log.error("lease %s is refused, its call is not taken over: %s", entry.key, error)
        random.shuffle(found)  # several instances look at once: each begins with another one
        return found

    async def take(self, lease: Lease, revision: int) -> HeldLease | None:
        """Make a free lease ours; None if another instance is faster."""
        taken, began = leases.taken(lease, self._instance), time.monotonic()
        try:
            revision = await (await self._kv()).update(_key(taken), self._encoded(taken), last=revision)
        except KeyWrongLastSequenceError:
            return None
        return HeldLease(taken, revision, dirty=False, written=began)


def _key(lease: Lease) -> str:
    return subjects.lease_key(lease.agent, lease.session_id)
