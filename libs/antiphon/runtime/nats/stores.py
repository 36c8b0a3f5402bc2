"""All buckets and streams on NATS, in one table, and how they are made: `STORES`, `ensure`.

Only the process with the credential `setup` runs `ensure` (`antiphon setup`, `antiphon up`); `store_keeper` says when.
All other processes open what is there (`buckets`). Each store is bounded in bytes and has a policy for when it is
full. A region's server has those `where` says `region`, the hub's servers the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

import nats.errors
from nats.aio.client import Client

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL, FLOWS_TTL, PREPARED_MAX_VALUE, PREPARED_TTL
from antiphon.schemas import subjects

LEASE_RETENTION: Final = 600.0
"""Seconds after which a lease is gone that its holder did not renew (it renews once a minute, and deletes it with the
call): for so long the words of a call stay whose agent died and has no successor."""
MIN_LEASE_RETENTION: Final = 120.0
"""Two renewals: with less, the leases of running calls would go."""
CHECKPOINT_TTL: Final = 60.0
"""Seconds that a checkpoint outlives its last renewal, which comes every 15 s: calls of a stack that is gone."""
LIMITS_TTL: Final = 7500.0
"""Longer than a client secret lives (7200 s): its uses are counted for so long."""
RECENT_AUDIO_SECONDS: Final = 5.0
TIMELINE_SECONDS: Final = 6 * 3600.0
ENDED_CALLS_SECONDS: Final = 7 * 86400.0
WEBHOOK_SECONDS: Final = 24 * 3600.0
COPY_LEASE_TTL: Final = 7 * 86400.0
"""A copy lease runs out by its readers' clocks, 2 s after they saw it change. Its entry stays: it may say that the
copies are withdrawn, which has to outlive any outage, and its revision fences the next owner."""
HUB_REPLICAS: Final = 3
"""One of each hub bucket in each of three regions: a bucket answers while two of them do. Copy leases have as many
registers instead, with one replica each: NATS elects a leader for seconds, a majority of registers waits for none."""
API: Final = "$JS.API"
_ANSWER_SECONDS: Final = 2.0
_NOT_FOUND: Final = 10059
_MIB: Final = 1 << 20
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True)
class Store:
    """A bucket or stream. A row of `STORES`."""

    name: str
    """As services know it; a bucket's stream has `KV_` in front."""
    kind: Literal["bucket", "stream"]
    ttl: float | None
    """Seconds that an entry lives after it was written; None: until it is replaced or deleted."""
    storage: Literal["memory", "file"]
    max_bytes: int
    max_value: int
    """Bytes of one entry."""
    when_full: Literal["new", "old"]
    """What NATS drops: `new` refuses the write, which its writer logs; `old` lets the oldest entry go."""
    rewritten: bool
    """Its writers put everything in again by themselves, so that it may be deleted and made anew."""
    where: Literal["region", "hub"] = "region"
    """Which `setup` makes it: a region's, or the hub's."""
    replicas: int | None = None
    """Servers that keep it; None: as the operator sets it."""
    tag: str = ""
    """Of the only server that keeps it (`server_tags`); empty: any."""
    direct: bool = True
    """Reads by DIRECT.GET, whose subject holds the key: NATS can allow it key by key."""
    subject: str = ""
    """Of a stream: what it keeps."""
    max_messages: int | None = None
    """Of a stream; None: as many as `max_bytes` holds."""
    max_of_a_subject: int | None = None
    """Likewise of each subject."""
    retention: Literal["limits", "workqueue", "interest"] = "limits"
    """`workqueue`: an entry goes when a consumer has acknowledged it. `interest`: likewise when all have, and at once
    where there is none."""

    @property
    def stream(self) -> str:
        """The name of the stream behind it."""
        return f"KV_{self.name}" if self.kind == "bucket" else self.name

    def config(self) -> dict[str, Any]:
        """As JetStream's API has it; fields that are not named are the server's or the operator's (replicas)."""
        common: dict[str, Any] = {
            "name": self.stream,
            "retention": self.retention,
            "storage": self.storage,
            "max_age": round((self.ttl or 0) * _NANOSECONDS),
            "max_bytes": self.max_bytes,
            "max_msg_size": self.max_value,
            "discard": self.when_full,
            "allow_direct": self.direct,
        }
        if self.replicas is not None:
            common["num_replicas"] = self.replicas
        if self.tag:
            common["placement"] = {"tags": [self.tag]}
        if self.kind == "stream":
            if self.max_messages is not None:
                common["max_msgs"] = self.max_messages
            if self.max_of_a_subject is not None:
                common["max_msgs_per_subject"] = self.max_of_a_subject
            return {**common, "subjects": [self.subject], "no_ack": True}
        return {
            **common,
            "subjects": [f"$KV.{self.name}.>"],
            "max_msgs_per_subject": 1,
            "allow_rollup_hdrs": False,  # with it one put of any role empties the whole bucket
            "allow_msg_ttl": True,
            "deny_delete": True,
            "duplicate_window": round(min(self.ttl or 120.0, 120.0) * _NANOSECONDS),
        }


def _bucket(name: str, ttl: float | None, storage: Literal["memory", "file"], mib: int, max_value: int) -> Store:
    return Store(name, "bucket", ttl, storage, mib * _MIB, max_value, "new", rewritten=storage == "memory")


def _of_hub(name: str, ttl: float | None, mib: int, max_value: int) -> Store:
    """On disk: what it says has to outlive a restart of all servers of the hub."""
    return Store(
        name, "bucket", ttl, "file", mib * _MIB, max_value, "new", rewritten=False, where="hub", replicas=HUB_REPLICAS
    )


def _register(number: int) -> Store:
    leases = _of_hub(subjects.copy_lease_bucket(number), COPY_LEASE_TTL, 32, 8 << 10)
    return replace(leases, replicas=1, tag=f"copy-leases:{number}")


STORES: Final = {
    store.name: store
    for store in (
        _bucket(subjects.BUCKET_TRANSCEIVERS, ANNOUNCE_TTL, "memory", 4, 16 << 10),
        _bucket(subjects.BUCKET_RELAYS, ANNOUNCE_TTL, "memory", 4, 16 << 10),
        _bucket(subjects.BUCKET_FLOWS, FLOWS_TTL, "memory", 32, 4 << 10),
        _bucket(subjects.BUCKET_SLOTS, None, "file", 4, 4 << 10),
        _bucket(subjects.BUCKET_SESSIONS, CHECKPOINT_TTL, "memory", 64, _MIB),
        _bucket(subjects.BUCKET_COPIES, CHECKPOINT_TTL, "memory", 64, _MIB),
        _bucket(subjects.BUCKET_LEASES, LEASE_RETENTION, "memory", 64, _MIB),
        _bucket(subjects.BUCKET_LIMITS, LIMITS_TTL, "memory", 32, 4 << 10),
        _bucket(subjects.BUCKET_PREPARED, PREPARED_TTL, "memory", 32, PREPARED_MAX_VALUE),
        Store(
            subjects.STREAM_RECENT_AUDIO,
            "stream",
            RECENT_AUDIO_SECONDS,
            "memory",
            128 * _MIB,  # five seconds of some 600 callers at 24 kHz
            64 << 10,
            "old",
            rewritten=True,
            subject=subjects.ANY_AUDIO_IN,
        ),
        Store(
            subjects.STREAM_TIMELINES,
            "stream",
            TIMELINE_SECONDS,
            "memory",
            96 * _MIB,
            64 << 10,
            "old",
            rewritten=True,
            subject=subjects.ANY_CALL_TIMELINE,
            max_of_a_subject=4000,  # an hour of a lively call
        ),
        Store(
            subjects.STREAM_ENDED_CALLS,
            "stream",
            ENDED_CALLS_SECONDS,
            "memory",
            8 * _MIB,
            64 << 10,
            "old",
            rewritten=True,
            subject=subjects.ANY_CALL_ENDED,
            max_messages=1000,
            max_of_a_subject=1,  # of each call: its owner may write it twice where the connection broke
        ),
        Store(
            subjects.STREAM_WEBHOOKS,
            "stream",
            WEBHOOK_SECONDS,
            "memory",
            16 * _MIB,
            64 << 10,
            "old",
            rewritten=True,
            subject=subjects.ANY_WEBHOOK,
            max_messages=10_000,
            # A work queue of each endpoint's consumer. Without webhooks there is no consumer, and nothing is kept: the
            # owners of calls need no setting for that.
            retention="interest",
        ),
        _of_hub(subjects.BUCKET_NUMBERS, None, 4, 4 << 10),
        *map(_register, range(1, HUB_REPLICAS + 1)),
    )
}
"""Name -> store. Of a region's, only slots are on disk: their epochs have to outlive the server, and say nothing of any
call."""
REGION_STORES: Final = {name: store for name, store in STORES.items() if store.where == "region"}
HUB_STORES: Final = {name: store for name, store in STORES.items() if store.where == "hub"}


def stores_for(lease_storage: Literal["memory", "file"], lease_retention: float) -> dict[str, Store]:
    """`REGION_STORES` with the settings of the operator."""
    leases = replace(STORES[subjects.BUCKET_LEASES], storage=lease_storage, ttl=lease_retention)
    return {**REGION_STORES, leases.name: leases}


def hub_stores(replicas: int = HUB_REPLICAS) -> dict[str, Store]:
    """`HUB_STORES` for a hub with fewer or more servers; one is for tests and for a trial on one machine."""
    numbers = replace(HUB_STORES[subjects.BUCKET_NUMBERS], replicas=replicas)
    registers = [_register(number) for number in range(1, replicas + 1)]
    if replicas == 1:
        registers = [replace(each, tag="") for each in registers]
    return {store.name: store for store in (numbers, *registers)}


def of_one_server(table: Mapping[str, Store]) -> dict[str, Store]:
    """The same buckets, all on the one server of a test or a bench."""
    return {name: replace(store, replicas=store.replicas and 1, tag="") for name, store in table.items()}


class Made(Enum):
    """What `ensure` has done."""

    KEPT = "is as it should be"
    CREATED = "made"
    UPDATED = "changed"
    REPLACED = "deleted and made anew"


class StoreError(nats.errors.Error):
    """NATS refuses to make or change a store; the text says why and the way out."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


async def ensure(client: Client, store: Store) -> Made:
    """Make the store, or change it to what the table says. Needs the credential `setup`; may be called at any time.

    What NATS can't change (the storage) is deleted and made anew if its writers write everything again. `StoreError`
    for what can't be done.
    """
    made = await _ensure_stream(client, store)
    if store.name == subjects.BUCKET_LEASES:  # holders put no words in clear into a bucket on disk
        key = f"$KV.{store.name}.{subjects.LEASE_STORAGE_KEY}"
        await client.request(key, store.storage.encode(), timeout=_ANSWER_SECONDS, headers={"Nats-TTL": "never"})
    return made


async def _ensure_stream(client: Client, store: Store) -> Made:
    wanted = store.config()
    present = await _request(client, f"STREAM.INFO.{store.stream}")
    if present is None:
        await _change(client, store, "CREATE", wanted)
        return Made.CREATED
    config: dict[str, Any] = present["config"]
    different = difference(config, wanted)
    if not different:
        return Made.KEPT
    if "storage" in different:
        if not store.rewritten:
            raise StoreError(
                f"{store.kind} {store.name} is kept in {config['storage']} and should be in {store.storage}, and NATS "
                f"can't move it: stop the stack, run `nats stream rm {store.stream}`, and it is made anew"
            )
        await _request(client, f"STREAM.DELETE.{store.stream}")
        await _change(client, store, "CREATE", wanted)
        return Made.REPLACED
    await _change(client, store, "UPDATE", {**config, **wanted})
    return Made.UPDATED


def difference(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> set[str]:
    """The fields that are not as wanted. NATS leaves out what is false, zero or empty."""
    return {field for field, value in wanted.items() if (present.get(field) or None) != (value or None)}


async def present_streams(client: Client) -> set[str]:
    """The names of all streams; an error of nats-py while NATS does not answer."""
    found: set[str] = set()
    while True:
        page = await _request(client, "STREAM.NAMES", {"offset": len(found)})
        names = (page or {}).get("streams") or []
        found |= set(names)
        if not names or len(found) >= (page or {}).get("total", 0):
            return found


async def _change(client: Client, store: Store, verb: str, config: Mapping[str, Any]) -> None:
    try:
        if await _request(client, f"STREAM.{verb}.{store.stream}", config) is None:
            raise StoreError("it is gone")
    except StoreError as error:
        raise StoreError(
            f"{store.kind} {store.name} can't be {'made' if verb == 'CREATE' else 'changed'}: {error}. If another "
            f"stream is in its way, or NATS can't change it, `nats stream rm` removes it and it is made anew"
        ) from None


async def _request(client: Client, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """JetStream's answer; None: there is no such stream. `StoreError` with its reason for a refusal."""
    payload = json.dumps(body).encode() if body is not None else b""
    answer = await client.request(f"{API}.{operation}", payload, timeout=_ANSWER_SECONDS)
    said: dict[str, Any] = json.loads(answer.data)
    if (error := said.get("error")) is None:
        return said
    if error.get("err_code") == _NOT_FOUND:
        return None
    raise StoreError(str(error.get("description", error)))
