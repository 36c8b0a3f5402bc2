"""What counts across instances: uses of secrets, rates and failures, in the NATS bucket `antiphon-limits`.

The bucket lies in memory, `setup` makes it. A use of a secret is counted by compare-and-swap, and nothing is placed
unless it was: without the bucket there is a 503. Rates and failures are a second line behind the tables of the process;
without the bucket only these count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import subjects
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.limits import rate
from antiphon.signaling.limits.failures import QUIET
from antiphon.signaling.limits.secret_uses import PreparedUse, SecretUses
from antiphon.signaling.placement.backend import Backend

log = logging.getLogger(__name__)

USE_TIMEOUT: Final = 1.0
"""Seconds for each request about a secret."""
RATE_TIMEOUT: Final = 0.5
"""Seconds for each request about a rate; after one that failed none is made for `PAUSE`."""
PAUSE: Final = 1.0
MAX_TRIES: Final = 32
"""Of one compare-and-swap. Each failed one is another instance's success, so a secret's uses soon come to an end."""
MAX_KNOWN: Final = 4096
"""Entries whose last revision is remembered, which saves their reading."""
NEW_ENTRIES_PER_MINUTE: Final = 600
"""Of rates and failures, from this process: 36,000 in the hour that they stay, each about 150 bytes, 5 MB of the 32 MB
of the bucket. Above it only the process itself counts. Uses of secrets have no such limit: making secrets has."""
MAX_TELLING: Final = 64
"""Failures that are being told to other instances at once; more stay unknown to them."""
_SAFETY: Final = 30.0
"""Seconds by which clocks may differ, where the age of an entry counts."""
_LOCKS: Final = 64
_FAILURES: Final = f"$KV.{subjects.BUCKET_LIMITS}.failed."


class Counter(NamedTuple):
    """The bucket, as a secret names it: one that was made anew knows nothing of the uses before."""

    name: str
    max_age: float
    """Seconds that an entry stays after its last change; infinite where it stays for ever."""


class LimitStore:
    """Owned by `Limits`, from `Backend`'s first connection to the end of the process; called on the event loop."""

    def __init__(self, backend: Backend, on_failure: Callable[[str, int], None]) -> None:
        """`on_failure(address, count)`: another instance, or this one, has counted so many failures."""
        self._backend = backend
        self._on_failure = on_failure
        self._bucket: tuple[Client, KeyValue] | None = None
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Of rates: the last revision, and `free_at`."""
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        self._paused_until = 0.0
        self._new = rate.RateTable()
        self._telling: set[asyncio.Task[None]] = set()
        self._looked_up: dict[str, int] = {}
        """Our own count of each address whose count in the bucket is being read for the first time."""
        backend.also_subscribe(f"{_FAILURES}*", self._failed_elsewhere)

    async def stop(self) -> None:
        """Drop what is being told."""
        await tasks.end(*self._telling)

    # ---- uses of a secret

    async def counter(self) -> Counter:
        """The store that counts from now on; `ApiError` 503 without one."""
        client = self._backend.connection("uses of client secrets can't be counted")
        try:
            info = await client.jetstream(timeout=USE_TIMEOUT).stream_info(f"KV_{subjects.BUCKET_LIMITS}")
        except BUS_ERRORS as error:
            raise _uncounted(error) from None
        # Two buckets differ in the time at which the server made them. It is only compared, never with a clock.
        made = "" if info.created is None else f"{info.created.timestamp():.6f}"
        return Counter(made, info.config.max_age or float("inf"))

    async def use(
        self,
        secret_id: str,
        max_calls: int,
        made_at: float,
        counter: str,
        was_used: Callable[[PreparedUse], Awaitable[bool]],
    ) -> bool:
        """Count one use, unless there were as many as allowed. `ApiError` 503 if it can't be counted.

        `was_used(prepared)`: of the secret's prepared call; False: it was not, and never will be.

        401 where the count may be lost: the bucket was made anew, or an entry would have been dropped for its age.
        """
        now_counting = await self.counter()
        if now_counting.name != counter:
            raise _lost("NATS came back without it")
        key = f"used.{secret_id}"
        answers: dict[PreparedUse, bool] = {}
        try:
            bucket = await self._open(USE_TIMEOUT)
            for tries in range(MAX_TRIES):
                uses, revision = await _read_uses(bucket, key)
                if uses.prepared is not None:
                    if uses.prepared not in answers:
                        answers[uses.prepared] = await was_used(uses.prepared)
                    uses = uses.settled(answers[uses.prepared])
                if revision is None and time.time() > made_at + now_counting.max_age - _SAFETY:
                    raise _lost(f"it is kept for {now_counting.max_age:.0f} s")
                if uses.used >= max_calls:
                    return False
                if await _swap(bucket, key, SecretUses(uses.used + 1).to_bytes(), revision):
                    return True
                await asyncio.sleep(random.uniform(0, 0.002 * (tries + 1)))
        except BUS_ERRORS as error:
            raise _uncounted(error) from None
        raise unavailable("limits_unavailable", "too many calls with this secret are being placed at once", 1)

    async def give_back(self, secret_id: str) -> None:
        """A use came to nothing: no call was made. A failure costs the secret that use."""
        key = f"used.{secret_id}"
        try:
            bucket = await self._open(USE_TIMEOUT)
            for tries in range(MAX_TRIES):
                uses, revision = await _read_uses(bucket, key)
                fewer = SecretUses(uses.used - 1, uses.prepared).to_bytes()
                if revision is None or uses.used <= 0 or await _swap(bucket, key, fewer, revision):
                    return
                await asyncio.sleep(random.uniform(0, 0.002 * (tries + 1)))
        except (*BUS_ERRORS, ApiError) as error:
            log.warning("a use of a client secret that made no call stays counted: %s", error or type(error).__name__)

    async def note_prepared(self, secret_id: str, prepared: PreparedUse) -> None:
        """The last use of the secret is this prepared call. `ApiError` 503 if that can't be noted."""
        key = f"used.{secret_id}"
        try:
            bucket = await self._open(USE_TIMEOUT)
            for tries in range(MAX_TRIES):
                uses, revision = await _read_uses(bucket, key)
                if await _swap(bucket, key, SecretUses(uses.used, prepared).to_bytes(), revision):
                    return
                await asyncio.sleep(random.uniform(0, 0.002 * (tries + 1)))
        except BUS_ERRORS as error:
            raise _uncounted(error) from None
        raise unavailable("limits_unavailable", "too many calls with this secret are being placed at once", 1)

    async def is_marked(self, session_id: str) -> bool:
        """Whether this prepared call was used, as its transceiver has noted."""
        bucket = await self._open(USE_TIMEOUT)
        try:
            await bucket.get(subjects.prepared_mark(session_id))
        except KeyNotFoundError:
            return False
        return True

    # ---- rates

    async def take(self, kind: str, subject: str, per_minute: int) -> float:
        """Seconds to wait; 0: it was taken, or nobody can say."""
        if time.monotonic() < self._paused_until or not self._backend.connected:
            return 0.0
        key = f"rate.{kind}.{subject}"
        try:
            async with self._locks[hash(key) % _LOCKS], asyncio.timeout(2 * RATE_TIMEOUT):
                return await self._take(await self._open(RATE_TIMEOUT), key, per_minute)
        except (*BUS_ERRORS, ApiError) as error:
            self._paused_until = time.monotonic() + PAUSE
            self._bucket = None
            log.warning("limits count in this process only: %s", error or type(error).__name__)
            return 0.0

    async def _take(self, bucket: KeyValue, key: str, per_minute: int) -> float:
        for _ in range(MAX_TRIES):
            known = self._known.get(key)
            if known is None:
                known = await self._read_rate(bucket, key)
            revision, free_at = known
            taken = rate.take(free_at, per_minute, time.time())
            if taken.wait:
                # It may be old news: another instance's clock, or a bucket that was made anew.
                fresh = await self._read_rate(bucket, key)
                if fresh == known:
                    return taken.wait
                continue
            if not revision and self._new.take("new", "", NEW_ENTRIES_PER_MINUTE, time.monotonic()):
                return 0.0
            try:
                revision = await bucket.update(key, f"{taken.free_at:.3f}".encode(), revision)
            except KeyWrongLastSequenceError:
                self._known.pop(key, None)
                continue
            self._remember(key, revision, taken.free_at)
            return 0.0
        return 0.0

    async def _read_rate(self, bucket: KeyValue, key: str) -> tuple[int, float]:
        try:
            entry = await bucket.get(key)
            found = entry.revision or 0, float(entry.value or b"0")
        except KeyNotFoundError:
            found = 0, 0.0
        except ValueError:  # not ours: as if nothing was used
            found = entry.revision or 0, 0.0
        self._remember(key, *found)
        return found

    def _remember(self, key: str, revision: int, free_at: float) -> None:
        self._known[key] = revision, free_at
        self._known.move_to_end(key)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    # ---- failures

    def tell_failure(self, address: str, count: int) -> None:
        """Tell the other instances, in the background; one that starts later finds it in the bucket."""
        if address in self._looked_up:
            self._looked_up[address] = count
            return
        if len(self._telling) >= MAX_TELLING or not self._backend.connected:
            return
        if count == 1 and self._new.take("new", "", NEW_ENTRIES_PER_MINUTE, time.monotonic()):
            return
        if count == 1:
            self._looked_up[address] = 1
        task = asyncio.create_task(self._tell_failure(address, count))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_failure(self, address: str, count: int) -> None:
        key = f"failed.{address}"
        try:
            if count == 1:  # new to this process: another one, or the one before us, may know it
                count, elsewhere = await self._first_count(address, key)
                if elsewhere:
                    self._on_failure(address, count)
            client = self._backend.connection("failures can't be told")
            # Without an answer of the store: the subscribers of this subject get it now, the bucket soon.
            await client.publish(f"$KV.{subjects.BUCKET_LIMITS}.{key}", _failure(count))
        except (*BUS_ERRORS, ApiError) as error:
            log.debug("a failed authentication is not told: %s", error or type(error).__name__)

    async def _first_count(self, address: str, key: str) -> tuple[int, int]:
        """(our own failures and those in the bucket, those in the bucket).

        Our later failures wait until it is read: it would hold them too, and they would count twice.
        """
        elsewhere = 0
        try:
            bucket = await self._open(RATE_TIMEOUT)
            with contextlib.suppress(KeyNotFoundError):
                elsewhere = _failures((await bucket.get(key)).value)
        finally:
            own = self._looked_up.pop(address)
        return own + elsewhere, elsewhere

    async def _failed_elsewhere(self, message: Msg) -> None:
        if count := _failures(message.data):
            self._on_failure(message.subject.removeprefix(_FAILURES), count)

    # ---- the bucket

    async def _open(self, timeout: float) -> KeyValue:
        client = self._backend.connection("limits can't be counted")
        if self._bucket is None or self._bucket[0] is not client:
            self._bucket = client, await client.jetstream(timeout=timeout).key_value(subjects.BUCKET_LIMITS)
        return self._bucket[1]


async def _read_uses(bucket: KeyValue, key: str) -> tuple[SecretUses, int | None]:
    """No revision: there is no entry."""
    try:
        entry = await bucket.get(key)
    except KeyNotFoundError:
        return SecretUses(), None
    return SecretUses.from_bytes(entry.value or b""), entry.revision


async def _swap(bucket: KeyValue, key: str, value: bytes, revision: int | None) -> bool:
    try:
        await bucket.update(key, value, revision)
    except KeyWrongLastSequenceError:
        return False
    return True


def _failure(count: int) -> bytes:
    return json.dumps({"count": count, "at": round(time.time())}).encode()


def _failures(data: bytes | None) -> int:
    """The count in an entry; 0 if it is none of ours, or of a time that is forgotten."""
    try:
        read = json.loads(data or b"")
        count, at = int(read["count"]), float(read["at"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0
    return count if 0 < count < 1 << 31 and time.time() < at + QUIET else 0


def _uncounted(error: Exception) -> ApiError:
    log.warning("a client secret is refused, its uses can't be counted: %s", error or type(error).__name__)
    text = f"uses of client secrets can't be counted: bucket {subjects.BUCKET_LIMITS} does not answer"
    return unavailable("limits_unavailable", text)


def _lost(why: str) -> ApiError:
    text = f"how often this ek_ secret was used is not known any more ({why}): fetch a new one for each call"
    return ApiError(401, "expired_secret", text, headers={"WWW-Authenticate": "Bearer"})
