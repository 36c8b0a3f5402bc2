"""Key-value buckets of NATS as services and agents use them: opened, never made, and read key by key.

`antiphon setup` makes them (`stores`). Nothing here asks JetStream for more than NATS can allow for one bucket, and in
`entries` and `watched` for the keys of one agent (docs/security.md, "Buckets and streams").
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NoRespondersError
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, BucketNotFoundError, KeyNotFoundError, NotFoundError
from nats.js.kv import KeyValue

log = logging.getLogger(__name__)

ANNOUNCE_TTL = 5.0
"""Seconds after which an announcement that was not renewed expires."""
FLOWS_TTL = 86400.0
"""Seconds after which an entry that its transceiver did not remove expires."""
PREPARED_TTL: Final = 60.0
"""Seconds within which the client of a prepared call has to come."""
PREPARED_MAX_VALUE: Final = 16 << 10
"""Octets of a prepared call, its subject and headers included."""
_LOOK_EVERY: Final = 0.1
_READS_AT_ONCE: Final = 16
_READ_SECONDS: Final = 2.0
_UNUSED_SECONDS: Final = 5.0
"""After which NATS removes a consumer that we no longer read."""
_KEY: Final = re.compile(r"[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*")
"""What nats-py takes for a key, without empty tokens."""
_missing: set[str] = set()
"""Buckets that were missing at the last look: one line in the log for each time that one goes."""


class Entry(NamedTuple):
    """A key and what is in it."""

    key: str
    value: bytes
    revision: int


async def bucket(js: JetStreamContext, name: str, probe: str = "_", wait: float = 0.0) -> KeyValue:
    """The bucket `name`, which `antiphon setup` makes; `BucketNotFoundError` if it is not there within `wait` seconds.

    Looks for the key `probe`, which need not exist: NATS may allow us some keys only, `<agent>.*` of the leases.
    """
    kv = KeyValue(name=name, stream=f"KV_{name}", pre=f"$KV.{name}.", js=js, direct=True)
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        try:
            await js.get_msg(f"KV_{name}", subject=f"$KV.{name}.{probe}", direct=True)
        except NotFoundError:
            pass
        except NoRespondersError:
            if name not in _missing:
                _missing.add(name)
                log.warning(
                    "bucket %s is missing: start `antiphon setup`, which makes it (NATS needs JetStream, `-js`)", name
                )
            if asyncio.get_running_loop().time() >= deadline:
                raise BucketNotFoundError from None
            await asyncio.sleep(_LOOK_EVERY)
            continue
        if name in _missing:
            _missing.discard(name)
            log.info("bucket %s is there", name)
        return kv


async def keys(js: JetStreamContext, name: str, pattern: str = ">") -> list[str]:
    """The keys of bucket `name` that match, deleted ones included; `Error` of JetStream where there is no bucket.

    Without those that can't be read as keys: other clients of NATS may put such a thing there.

    NATS can't allow this for some keys only: it is for services, which may know all of the bucket's.
    """
    subject = f"$KV.{name}."
    stream = await js.stream_info(f"KV_{name}", subjects_filter=subject + pattern)
    names = (text.removeprefix(subject) for text in stream.state.subjects or {})
    return [name for name in names if _KEY.fullmatch(name)]


async def read_all(js: JetStreamContext, name: str, pattern: str = ">") -> list[Entry]:
    """What is in the bucket's keys that match now, in the order of writing. For services, as `keys`."""
    kv = await bucket(js, name)
    names, found = await keys(js, name, pattern), list[Entry]()

    async def read(key: str) -> None:
        with contextlib.suppress(KeyNotFoundError):
            entry = await kv.get(key)
            found.append(Entry(key, entry.value or b"", entry.revision or 0))

    for start in range(0, len(names), _READS_AT_ONCE):
        await asyncio.gather(*map(read, names[start : start + _READS_AT_ONCE]))
    return sorted(found, key=lambda entry: entry.revision)


# ---- by a consumer, whose filter stands in the subject of the request that makes it -------------------------
#
# nats-py's own watchers name no filter there, so NATS could allow all keys of a bucket or none. They also report an
# empty bucket when entries arrive before their number does.


async def entries(client: Client, name: str, pattern: str = ">") -> list[Entry]:
    """What is in the keys that match now; `BucketNotFoundError` without the bucket, `TimeoutError` after 2 s."""
    found = []
    async with asyncio.timeout(_READ_SECONDS), consumer(client, f"KV_{name}", f"$KV.{name}.{pattern}") as (sub, count):
        while count > 0:
            message = await sub.next_msg(_READ_SECONDS)
            if (entry := _entry(name, message)) is not None:
                found.append(entry)
            count = message.metadata.num_pending
    return found


@asynccontextmanager
async def watched(client: Client, name: str, pattern: str) -> AsyncIterator[AsyncIterator[Entry]]:
    """What is in the keys that match now, and whatever is written until the block ends.

    It stops without a word when the bucket goes: watch anew from time to time.
    """

    async def read() -> AsyncIterator[Entry]:
        async for message in sub.messages:
            if (entry := _entry(name, message)) is not None:
                yield entry

    async with consumer(client, f"KV_{name}", f"$KV.{name}.{pattern}") as (sub, _):
        yield read()


@asynccontextmanager
async def consumer(
    client: Client, stream: str, subject: str, deliver_policy: str = "last_per_subject", after: int = 0
) -> AsyncIterator[tuple[Subscription, int]]:
    """A consumer of one subject or wildcard of a stream, for the block: its subscription, and how many messages wait.

    Nothing is acknowledged, and nothing is sent again. `after`: only messages with higher numbers in the stream, in
    place of a policy; 0: by the policy.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        yield subscription, await _make_consumer(client, stream, subject, inbox, deliver_policy, after)
    finally:
        await subscription.unsubscribe()  # NATS removes the consumer by itself: deleting takes a right of its own


async def _make_consumer(client: Client, stream: str, subject: str, inbox: str, deliver_policy: str, after: int) -> int:
    name = secrets.token_hex(12)  # not to be guessed: NATS lets its maker change a consumer of a known name
    config: dict[str, Any] = {
        "name": name,
        "filter_subject": subject,
        "deliver_subject": inbox,
        "deliver_policy": deliver_policy,
        "ack_policy": "none",
        "max_deliver": 1,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": round(_UNUSED_SECONDS * 1e9),
    }
    if after:
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
    request = f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}"
    payload = json.dumps({"stream_name": stream, "config": config}).encode()
    try:
        said: dict[str, Any] = json.loads((await client.request(request, payload, timeout=_READ_SECONDS)).data)
    except NoRespondersError:
        raise BucketNotFoundError from None
    if "error" in said:
        if said["error"].get("err_code") == 10059:  # no such stream
            raise BucketNotFoundError
        APIError.from_error(said["error"])  # raises
    return int(said["num_pending"]) + int(said["delivered"]["consumer_seq"])


def _entry(name: str, message: Msg) -> Entry | None:
    """None: the key was deleted, or has expired."""
    if message.headers and ("KV-Operation" in message.headers or "Nats-Marker-Reason" in message.headers):
        return None
    return Entry(message.subject.removeprefix(f"$KV.{name}."), message.data, message.metadata.sequence.stream)
