"""Key-value buckets of NATS: created when missing, listed completely."""

from __future__ import annotations

from nats.js.api import StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import BucketNotFoundError
from nats.js.kv import KeyValue

ANNOUNCE_TTL = 5.0
"""Seconds after which an announcement that was not renewed expires."""
FLOWS_TTL = 86400.0
"""Seconds after which an entry that its transceiver did not remove expires."""


async def bucket(
    js: JetStreamContext, name: str, ttl: float | None = None, storage: StorageType | None = None
) -> KeyValue:
    """The key-value bucket `name`, created if there is none. `ttl` in seconds; None keeps entries for ever.

    `storage` None leaves it to the server, which means on disk.
    """
    try:
        return await js.key_value(name)
    except BucketNotFoundError:
        return await js.create_key_value(bucket=name, ttl=ttl, history=1, storage=storage)


async def keys(js: JetStreamContext, name: str, pattern: str = ">") -> list[str]:
    """The keys of bucket `name` that match, deleted ones included; `Error` of JetStream where there is no bucket.

    Not by nats-py's watchers: they report an empty bucket when entries arrive before their number does.
    """
    subject = f"$KV.{name}."
    stream = await js.stream_info(f"KV_{name}", subjects_filter=subject + pattern)
    return [text.removeprefix(subject) for text in stream.state.subjects or {}]
