"""The relay's ingress number: the operator's, or one claimed in the hub's bucket, and kept there.

`ingress_claim` decides; this reads and writes the bucket by compare-and-swap. Nothing waits for it: until there is a
number the relay forwards what it can without one.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

import nats.errors
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.relay.control.ingress_claim import RENEW_SECONDS, Claimed, IngressClaim, NumberTakenError, Write
from antiphon.runtime.nats import buckets
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import NumberClaim, decode, encode

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
"""While the hub can't be reached, or has not answered."""
TAKEN_SECONDS: Final = 10.0
"""Between two looks while there is no number to be had."""
STORE_SECONDS: Final = 5.0
"""Time limit of a round of reads and writes: the hub's servers are in other regions."""
MAX_TRIES: Final = 16
"""Other relays that claim at the same moment, in one round."""
_NUMBER: Final = re.compile(r"ingress\.([1-9][0-9]{0,4})")


class IngressNumber:
    """Claims and renews: `run` until cancelled.

    Belongs to `BackboneClient` and lives as long; runs on the event loop of the control process.
    """

    def __init__(
        self,
        relay: str,
        fixed: int | None,
        known: int,
        jetstream: Callable[[], JetStreamContext | None] | None,
        announced: Callable[[], Collection[int]],
        on_number: Callable[[int], None],
    ) -> None:
        """`known`: the number when this relay last ran, or 0.

        `jetstream`: of the hub, None while it can't be reached; None: there is no hub.

        `announced()`: numbers that other relays announce; `on_number` is called with a number that has changed.
        """
        self._claim = IngressClaim(relay, secrets.token_hex(8), fixed, known)
        self._jetstream = jetstream
        self._announced = announced
        self._on_number = on_number
        self._said = ""

    @property
    def number(self) -> int:
        """In use now; 0: none."""
        return self._claim.number

    async def run(self) -> None:
        """Keep the number claimed; returns at once where there is no hub."""
        if self._jetstream is None:
            if not self.number:
                log.info(
                    "no calls of other clusters enter here: ANTIPHON_RELAY_INGRESS is not set, and there is no hub to "
                    "claim a number at (ANTIPHON_HUB_NATS_URL)"
                )
            return
        while True:
            wait = await self._round(self._jetstream())
            await asyncio.sleep(wait)

    async def _round(self, js: JetStreamContext | None) -> float:
        """Claim or renew once; the seconds until the next time."""
        if js is None:
            return RETRY_SECONDS
        before = self.number
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._claim_or_renew(js)
            self._say("", logging.INFO)
            return RENEW_SECONDS / 2
        except NumberTakenError as error:
            self._say(str(error), logging.ERROR)
            return TAKEN_SECONDS
        except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            self._say(f"the ingress number can't be claimed at the hub: {error or type(error).__name__}", logging.WARN)
            return RETRY_SECONDS
        finally:
            if self.number != before:
                log.info("ingress number %d", self.number)
                self._on_number(self.number)

    def _say(self, text: str, level: int) -> None:
        """Each state once: it is looked at every second."""
        if text and text != self._said:
            log.log(level, "%s", text)
        self._said = text

    async def _claim_or_renew(self, js: JetStreamContext) -> None:
        kv = await buckets.bucket(js, subjects.BUCKET_NUMBERS, probe=subjects.ingress_key(1))
        for _ in range(MAX_TRIES):
            write = await self._next_write(js, kv)
            if write is None:
                return
            try:
                await _compare_and_swap(kv, write)
            except KeyWrongLastSequenceError:
                continue  # another process was there first: look again
            self._claim.written(write)
            return
        raise TimeoutError("other relays claim numbers at the same time")

    async def _next_write(self, js: JetStreamContext, kv: KeyValue) -> Write | None:
        """None: our claim was renewed a short while ago, by another process of this relay."""
        now = time.time()
        if self.number:
            claimed = await _read(kv, self.number)
            if claimed is not None and self._claim.holds(claimed):
                return self._claim.renew(claimed, now) if self._claim.is_due(claimed, now) else None
        claims = {}
        for entry in await buckets.read_all(js, subjects.BUCKET_NUMBERS, subjects.INGRESS_KEYS):
            if (found := _NUMBER.fullmatch(entry.key)) is not None:
                claims[int(found[1])] = Claimed(_decoded(entry.value), entry.revision)
        return self._claim.choose(claims, self._announced(), now)


async def _read(kv: KeyValue, number: int) -> Claimed | None:
    try:
        entry = await kv.get(subjects.ingress_key(number))
    except KeyNotFoundError:
        return None
    return Claimed(_decoded(entry.value or b""), entry.revision or 0)


def _decoded(value: bytes) -> NumberClaim | None:
    try:
        return decode(value, NumberClaim)
    except MalformedError:
        return None


async def _compare_and_swap(kv: KeyValue, write: Write) -> None:
    """`KeyWrongLastSequenceError` if the key has changed since it was read."""
    key, value = subjects.ingress_key(write.number), encode(write.claim)
    if write.revision:
        await kv.update(key, value, write.revision)
    else:
        await kv.create(key, value)
