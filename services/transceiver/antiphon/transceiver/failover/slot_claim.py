"""Which transceiver slot this process has, and in which incarnation.

A slot's epoch grows with each claim, by compare-and-swap in a bucket that keeps it, so a route token names exactly
one process, also after its address was given to another.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import Final

from nats.js.client import JetStreamContext
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.transceiver.net.endpoint import TransceiverIdentity

MAX_SLOTS: Final = 4096
SETUP_SECONDS: Final = 5.0
"""For the buckets to be made; then the process ends, to be started again."""
FRESH: Final = buckets.ANNOUNCE_TTL
"""Seconds for which a claim counts as live although its process has not announced itself yet."""


async def claim_slot(js: JetStreamContext, cluster: int, wanted: int | None) -> TransceiverIdentity:
    """Take the slot `wanted`, or the lowest free one; RuntimeError if there is none.

    `BucketNotFoundError` while the buckets are not there: `antiphon setup` may start after us, so we wait for a moment.
    """
    claims = await buckets.bucket(js, subjects.BUCKET_SLOTS, wait=SETUP_SECONDS)
    live = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS, wait=SETUP_SECONDS)
    for slot in range(MAX_SLOTS) if wanted is None else [wanted]:
        key = subjects.slot_key(cluster, slot)
        claim, revision = await _read(claims, key)
        if wanted is None and revision and await _is_live(live, key, claim):
            continue
        before = claim.epoch if claim else await _announced_epoch(live, key)
        epoch = secrets.randbits(16) if before is None else (before + 1) & 0xFFFF
        ours = messages.encode(messages.SlotClaim(epoch=epoch, holder=secrets.token_hex(8), claimed_at=time.time()))
        try:
            if revision:
                await claims.update(key, ours, revision)
            else:
                await claims.create(key, ours)
        except KeyWrongLastSequenceError:
            if wanted is None:
                continue
            return await claim_slot(js, cluster, wanted)
        return TransceiverIdentity(cluster, slot, epoch)
    raise RuntimeError(f"all {MAX_SLOTS} transceiver slots of cluster {cluster} are taken")


async def keep_claim(js: JetStreamContext, identity: TransceiverIdentity) -> None:
    """Write the claim of a slot of ours again, if NATS has lost it: the next one has to count on from it."""
    claims = await buckets.bucket(js, subjects.BUCKET_SLOTS)
    ours = messages.SlotClaim(epoch=identity.epoch, holder=secrets.token_hex(8), claimed_at=time.time())
    with contextlib.suppress(KeyWrongLastSequenceError):
        await claims.create(subjects.slot_key(identity.cluster, identity.slot), messages.encode(ours))


async def _announced_epoch(live: KeyValue, key: str) -> int | None:
    """Of the process that announced this slot last; None if that is too long ago."""
    try:
        return messages.decode((await live.get(key)).value or b"", messages.TransceiverAnnouncement).epoch
    except (KeyNotFoundError, MalformedError):
        return None


async def _read(claims: KeyValue, key: str) -> tuple[messages.SlotClaim | None, int]:
    try:
        entry = await claims.get(key)
        return messages.decode(entry.value or b"", messages.SlotClaim), entry.revision or 0
    except KeyNotFoundError:
        return None, 0
    except MalformedError:  # put there by another client of NATS
        return None, entry.revision or 0


async def _is_live(live: KeyValue, key: str, claim: messages.SlotClaim | None) -> bool:
    """Whether a process has the slot, also where another client of NATS has put something over its claim."""
    if claim is not None and time.time() - claim.claimed_at < FRESH:
        return True
    try:
        await live.get(key)
    except KeyNotFoundError:
        return False
    return True
