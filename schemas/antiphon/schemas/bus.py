"""How a process joins the bus: connection options, buckets, the services register, trace context.

What all services must do alike so that they meet. What they say to each other is in `messages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import BucketNotFoundError
from nats.js.kv import KeyValue
from nats.micro import add_service
from nats.micro.service import Service
from opentelemetry import propagate
from opentelemetry.context import Context

from antiphon.schemas.nats_client import CONNECT_SECONDS, BusClient
from antiphon.schemas.nats_url import DEFAULT_NATS_URL as DEFAULT_NATS_URL

log = logging.getLogger(__name__)

ANNOUNCE_TTL = 5.0
"""Seconds after which an announcement that was not renewed is gone."""
FLOWS_TTL = 86400.0
"""Seconds after which an entry that its transceiver did not take out is gone."""
COMPLAIN_EVERY = 30.0
"""Seconds between two lines about the same kind of connection error."""
ONCE_SECONDS = 3.0
"""For a connection that is made for one question."""
_LOOK_SECONDS = 0.01
AGENT_SERVICE = "antiphon-agent"
"""The register name under which every agent stands, with its own name as metadata `agent`."""
TROUBLE = "trouble"
"""In the metadata of an instance: why it could not serve callers at the moment; signaling shows it to everybody."""


class Complaints:
    """Which errors of a connection are worth a line: the library tells one per attempt, four times a second.

    The first of its kind, then one in `COMPLAIN_EVERY` seconds, with the number of those in between.
    """

    def __init__(self) -> None:
        self._kinds: dict[type[Exception], tuple[float, int]] = {}  # when said last, how many since

    def text_for(self, error: Exception, now: float) -> str | None:
        """What to log of this error; None: nothing."""
        said, unsaid = self._kinds.get(type(error), (float("-inf"), 0))
        if now - said < COMPLAIN_EVERY:
            self._kinds[type(error)] = said, unsaid + 1
            return None
        self._kinds[type(error)] = now, 0
        text = str(error) or type(error).__name__
        return f"{text} ({unsaid} more since the last line)" if unsaid else text

    def forget(self) -> None:
        """It goes well again: the next error is news."""
        self._kinds.clear()


async def connect(url: str, name: str) -> BusClient:
    """Connect, and reconnect for as long as the process lives; waits until a server is there.

    While NATS is away nothing is kept for later: late audio is worthless and announcements repeat. What else may
    happen to a connection, and what follows, is in `nats_client`.
    """

    complaints = Complaints()

    async def on_error(error: Exception) -> None:
        if (text := complaints.text_for(error, time.monotonic())) is not None:
            log.warning("nats: %s", text)

    async def on_disconnect() -> None:
        if not client.is_closed:  # the library says so as well when we leave
            log.warning("nats: connection lost, reconnecting")

    async def on_reconnect() -> None:
        complaints.forget()
        log.info("nats: connected again")

    client = BusClient()
    await client.connect(
        url,
        name=name,
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,
        connect_timeout=CONNECT_SECONDS,
        pending_size=0,
    )
    return client


async def connect_once(url: str, name: str) -> BusClient:
    """Connect for a question or two: one attempt, and no other one when the connection is lost.

    `OSError`, `TimeoutError` or an error of nats-py when there is no server.
    """

    async def on_error(error: Exception) -> None:
        log.debug("nats: %s", error)

    client = BusClient()
    connecting = client.connect(
        url,
        name=name,
        error_cb=on_error,
        allow_reconnect=False,
        connect_timeout=CONNECT_SECONDS,
    )
    async with asyncio.timeout(ONCE_SECONDS):
        await connecting
    return client


async def flush(client: Client) -> None:
    """Return when all that was subscribed and published before has reached the server."""
    await client.flush()


async def stop_answering(client: Client, subscription: Subscription) -> None:
    """End a subscription that answers requests: those which the server has passed on already are still answered.

    `Subscription.unsubscribe` drops them, and their senders wait for their whole time limit. Ends without an error
    whatever state the connection is in.
    """
    try:
        await subscription.drain()  # type: ignore[no-untyped-call]
    except (nats.errors.Error, TimeoutError):  # no connection, or one that pauses
        client._remove_sub(subscription._id)
        subscription._stop_processing()
        with contextlib.suppress(nats.errors.Error, OSError):
            await client._send_unsubscribe(subscription._id)


async def bucket(
    js: JetStreamContext, name: str, ttl: float | None = None, storage: StorageType | None = None
) -> KeyValue:
    """The key-value bucket `name`, made if it is not there. `ttl` in seconds; None keeps entries for good.

    `storage` None leaves it to the server, which means on disk.
    """
    try:
        return await js.key_value(name)
    except BucketNotFoundError:
        return await js.create_key_value(bucket=name, ttl=ttl, history=1, storage=storage)


async def keys(js: JetStreamContext, name: str, pattern: str = ">") -> list[str]:
    """The keys of bucket `name` that match, deleted ones included; `Error` of JetStream where there is no bucket.

    Not by nats-py's watchers: those say that there is nothing where the entries come faster than their number.
    """
    subject = f"$KV.{name}."
    stream = await js.stream_info(f"KV_{name}", subjects_filter=subject + pattern)
    return [text.removeprefix(subject) for text in stream.state.subjects or {}]


async def register(
    client: Client,
    name: str,
    metadata: dict[str, str] | None = None,
    figures: Callable[[], dict[str, Any]] | None = None,
) -> Service:
    """Stand in the NATS services register, so that `nats micro list` and health checks see this process.

    `metadata` is completed here, and stays the caller's: what is changed in it later is answered from then on.
    `figures`: what `nats micro stats` shows as data of each endpoint.
    """
    metadata = {} if metadata is None else metadata
    metadata.update(host=socket.gethostname(), pid=str(os.getpid()))
    return await add_service(
        client,
        name=name,
        version="0.1.0",
        metadata=metadata,
        stats_handler=(lambda _: figures()) if figures else None,
    )


async def instances(
    client: Client, name: str, wait: float = 0.5, enough: Callable[[list[dict[str, str]]], bool] | None = None
) -> list[dict[str, str]]:
    """The metadata of every instance that stands in the register under `name` and answers within `wait` seconds.

    In the order of their answers. `enough`: what is found so far will do.
    """
    found: list[dict[str, str]] = []

    async def on_answer(message: Msg) -> None:
        try:
            metadata = json.loads(message.data)["metadata"]
        except (ValueError, LookupError, TypeError):
            return
        if isinstance(metadata, dict):
            found.append({str(key): str(value) for key, value in metadata.items()})

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=on_answer)
    try:
        await client.publish(f"$SRV.PING.{name}", reply=inbox)
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            if enough is not None and enough(found):
                break
            await asyncio.sleep(left if enough is None else min(left, _LOOK_SECONDS))
    finally:
        await subscription.unsubscribe()
    return found


async def answers_here(url: str, name: str, wait: float = 1.0) -> bool:
    """Whether an instance of `name` on this host answers in the services register within `wait` seconds.

    What `--check` of every service asks; False as well when NATS at `url` cannot be reached.
    """
    try:
        async with asyncio.timeout(ONCE_SECONDS + wait):
            client = await connect_once(url, "antiphon-check")
            try:
                host = socket.gethostname()
                return any(metadata.get("host") == host for metadata in await instances(client, name, wait))
            finally:
                await client.close()
    except (OSError, TimeoutError, nats.errors.Error):
        return False


def trace_headers() -> dict[str, str]:
    """The current trace context as NATS headers; empty when nothing is being traced."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def trace_context(headers: dict[str, str] | None) -> Context:
    """The trace context that a NATS message carries."""
    return propagate.extract(headers or {})


def local_host_towards(url: str) -> str:
    """The local IP address from which packets to `url`'s host leave: what to announce unless told otherwise."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    family, _, _, _, where = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where)  # a datagram socket: sends nothing, only asks the routing table
        return str(probe.getsockname()[0])
