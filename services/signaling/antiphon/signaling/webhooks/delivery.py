"""Takes webhooks from the stream and delivers them to one endpoint: `Endpoint`, and `Webhooks` for all of them.

Each endpoint has a durable consumer, which all replicas of signaling pull from. A notice is acknowledged when it was
delivered, or given up. The stream repeats it for any replica when it was not delivered, or when the replica that had
it is gone. Nothing of a notice is kept here, so memory is bounded by the attempts that run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import httpx2
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

from antiphon.runtime import tasks
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.signaling.webhooks import signature
from antiphon.signaling.webhooks.attempts import Gaps, judge

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line for every request

ATTEMPT_SECONDS: Final = 5.0
"""For one attempt, from the connection to the answer's headers."""
REPEAT_SECONDS: Final = 8.0
"""Without an acknowledgement the stream then gives a notice to another replica: the one that had it is gone."""
AT_ONCE: Final = 16
"""Attempts of a replica for one endpoint."""
MAX_UNACKNOWLEDGED: Final = 1000
"""Notices of one endpoint that are tried or wait for another attempt; further ones stay in the stream."""
UNUSED_SECONDS: Final = 86400.0
"""After so long without a replica NATS removes the consumer: as long as the stream keeps a notice."""
PULL_SECONDS: Final = 5.0
"""That a pull waits for notices. After a break of the connection the next one comes within this time."""
_JOIN_SECONDS: Final = 2.0


class Counts(Protocol):
    """What `Metrics` has of what is counted here."""

    def add(self, name: str, by: float = 1, /, **labels: str) -> None: ...
    def observe(self, name: str, value: float, /, **labels: str) -> None: ...


class Endpoint:
    """One URL. Owner: `Webhooks`, from `run` to its cancellation."""

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        retry_seconds: float,
        client: Callable[[], Client | None],
        http: httpx2.AsyncClient,
        metrics: Counts | None,
    ) -> None:
        """`client()`: the connection to NATS, None before there is one."""
        self.counts: Counter[str] = Counter()
        """By result: `delivered`, `retried`, `failed`."""
        self.waiting = 0
        """Notices in the stream, when it was last asked."""
        self.gaps = Gaps()
        self.consumer = consumer_name(url)
        self._url, self._keys, self._retry_seconds = url, keys, retry_seconds
        self._client, self._http, self._metrics = client, http, metrics
        self._running: set[asyncio.Task[None]] = set()
        """Attempts, `AT_ONCE` at most: as many are pulled as there is room for."""
        self._one_done = asyncio.Event()
        self._works = True
        """The last attempt was taken; each change is logged."""
        self._joined = True

    async def run(self) -> None:
        """Take and deliver, for ever."""
        try:
            while True:
                client = self._client()
                if client is not None and client.is_connected:
                    try:
                        await self._join(client)
                        self._note_joined(None)
                        await self._pull(client)
                    except (APIError, *BUS_ERRORS) as error:
                        self._note_joined(error)
                await asyncio.sleep(1)
        finally:
            await tasks.end(*self._running)

    def _note_joined(self, error: Exception | None) -> None:
        """Once per change: NATS may be away for hours."""
        if self._joined != (error is None):
            self._joined = error is None
            if error is not None:
                log.warning("webhooks can't be taken from NATS: %s", error or type(error).__name__)
            else:
                log.info("webhooks are taken from NATS again")

    async def _join(self, client: Client) -> None:
        """Make the consumer, or find it. NATS removes it a day after the last replica that has this endpoint."""
        config: dict[str, Any] = {
            "durable_name": self.consumer,
            "filter_subject": subjects.ANY_WEBHOOK,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": round(REPEAT_SECONDS * 1e9),
            "max_ack_pending": MAX_UNACKNOWLEDGED,
            "max_deliver": -1,
            "inactive_threshold": round(UNUSED_SECONDS * 1e9),
        }
        stream = subjects.STREAM_WEBHOOKS
        request = f"$JS.API.CONSUMER.CREATE.{stream}.{self.consumer}.{subjects.ANY_WEBHOOK}"
        payload = json.dumps({"stream_name": stream, "config": config}).encode()
        said: dict[str, Any] = json.loads((await client.request(request, payload, timeout=_JOIN_SECONDS)).data)
        if "error" in said:
            APIError.from_error(said["error"])  # raises

    async def _pull(self, client: Client) -> None:
        """Until the connection breaks or the consumer is gone: NATS has come back empty."""
        pull = await client.jetstream().pull_subscribe_bind(self.consumer, subjects.STREAM_WEBHOOKS)
        try:
            while client.is_connected:
                while len(self._running) >= AT_ONCE:
                    self._one_done.clear()
                    await self._one_done.wait()
                try:
                    batch = await pull.fetch(AT_ONCE - len(self._running), timeout=PULL_SECONDS)
                except (TimeoutError, nats.errors.TimeoutError):
                    self.waiting = 0
                    await self._join(client)
                    continue
                for message in batch:
                    task = asyncio.create_task(self._deliver(message))
                    self._running.add(task)
                    task.add_done_callback(self._done)
        finally:
            if client.is_connected:
                await pull.unsubscribe()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._one_done.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook was not delivered, and is repeated: %r", error)

    async def _deliver(self, message: Msg) -> None:
        about = message.metadata
        self.waiting = about.num_pending or 0
        before = self.gaps.dropped
        self.gaps.delivered(about.sequence.consumer, about.sequence.stream)
        if self._metrics is not None and self.gaps.dropped > before:
            self._metrics.add("antiphon_webhook_dropped_total", self.gaps.dropped - before)
        try:
            webhook = messages.decode(message.data, messages.Webhook)
        except MalformedError as error:
            log.warning("a webhook in the stream can't be read and is dropped: %s", error)
            self._count("failed")
            await _acknowledge(message.ack)
            return
        began = time.monotonic()
        status, retry_after, why = await self._attempt(webhook)
        if self._metrics is not None:
            self._metrics.observe("antiphon_webhook_delivery_seconds", time.monotonic() - began)
        age = time.time() - about.timestamp.timestamp()
        verdict = judge(status, about.num_delivered or 1, age, self._retry_seconds, retry_after)
        self._count(verdict.result)
        self._note(verdict.result == "delivered", why)
        if verdict.result == "retried":
            await _acknowledge(lambda: message.nak(verdict.delay))
            return
        if verdict.result == "failed":
            log.warning("webhook %s is given up after %.0f s: %s", webhook.id, age, why)
        await _acknowledge(message.ack)

    async def _attempt(self, webhook: messages.Webhook) -> tuple[int | None, float | None, str]:
        """Status, seconds that the endpoint asks for, and what is wrong, if something is."""
        body = signature.body_of(webhook)
        headers = signature.headers_of(webhook.id, body, self._keys, time.time())
        try:
            async with (
                asyncio.timeout(ATTEMPT_SECONDS),
                self._http.stream("POST", self._url, content=body, headers=headers) as answer,
            ):  # the body of the answer is not read
                return answer.status_code, _seconds(answer.headers.get("retry-after")), f"status {answer.status_code}"
        except TimeoutError:
            return None, None, f"no answer within {ATTEMPT_SECONDS:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return None, None, str(error)[:200] or type(error).__name__

    def _count(self, result: str) -> None:
        self.counts[result] += 1
        if self._metrics is not None:
            self._metrics.add("antiphon_webhook_deliveries_total", result=result)

    def _note(self, works: bool, why: str) -> None:
        if works != self._works:
            self._works = works
            host = httpx2.URL(self._url).host  # a path may hold a secret
            if works:
                log.info("webhooks are delivered to %s again", host)
            else:
                log.warning("webhooks are not delivered to %s, and are repeated: %s", host, why)


class Webhooks:
    """All endpoints of this process. Made by `__main__`, from `start` to the end of the process."""

    def __init__(
        self,
        urls: Sequence[str],
        keys: Sequence[bytes],
        retry_seconds: float,
        client: Callable[[], Client | None],
        metrics: Counts | None = None,
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self._urls, self._keys, self._retry_seconds = tuple(urls), keys, retry_seconds
        self._client, self._metrics = client, metrics
        self._http: httpx2.AsyncClient | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if not self._urls:
            return
        limits = httpx2.Limits(max_connections=AT_ONCE * len(self._urls), max_keepalive_connections=AT_ONCE)
        self._http = http = httpx2.AsyncClient(follow_redirects=False, timeout=ATTEMPT_SECONDS, limits=limits)
        for url in self._urls:
            self.endpoints.append(Endpoint(url, self._keys, self._retry_seconds, self._client, http, self._metrics))
        self._tasks = [asyncio.create_task(each.run()) for each in self.endpoints]

    @property
    def waiting(self) -> int:
        """Notices in the stream that were not given to a replica yet."""
        return sum(each.waiting for each in self.endpoints)

    async def stop(self) -> None:
        """What is not delivered stays in the stream."""
        await tasks.end(*self._tasks)
        if self._http is not None:
            await self._http.aclose()


def consumer_name(url: str) -> str:
    """The same at all replicas."""
    return f"signaling-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _seconds(value: str | None) -> float | None:
    """Of `Retry-After`; a date is left out."""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) < 6 else None


async def _acknowledge(say: Callable[[], Any]) -> None:
    """Without NATS the notice is repeated, which its id tells the receiver."""
    try:
        await say()
    except (nats.errors.Error, OSError) as error:
        log.debug("a webhook was not acknowledged: %r", error)
