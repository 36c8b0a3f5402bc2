"""The signaling service as a process, and stand-ins for all other services on NATS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection, service_discovery, stores
from antiphon.runtime.nats.access import OPEN, Access
from antiphon.schemas import subjects
from antiphon.schemas.messages import (
    AttachReply,
    CallList,
    CallStatus,
    CallSummary,
    ControlReply,
    HangUp,
    ListCalls,
    Message,
    Opened,
    OpenRequest,
    Place,
    RelayAnnouncement,
    TransceiverAnnouncement,
    TransferCall,
    decode,
    encode,
)

T = TypeVar("T")

OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:0 PCMU/8000",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sctp-port:5000",
        "",
    ]
)
"""An offer as browsers make it, shortened."""

ANSWER = "\r\n".join(
    [
        "v=0",
        "o=- 1252186804 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:A10NkWxL48v93RVD0x2nY9w",
        "a=ice-pwd:9e93836b07bc67ece92ef47b",
        "a=fingerprint:sha-256 " + ":".join(["CD"] * 32),
        "a=setup:active",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sctp-port:5000",
        "",
    ]
)
"""An answer as transceivers make it, shortened."""


def until(condition: Callable[[], T], what: str, seconds: float = 15.0) -> T:
    """Wait for a condition to hold; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return value


class SignalingProcess:
    """`python -m antiphon.signaling` on a free port of loopback."""

    def __init__(self, nats_url: str, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
        self.environment = {**clean, "ANTIPHON_NATS_URL": nats_url, "ANTIPHON_HTTP_BIND": "127.0.0.1:0", **environment}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "antiphon.signaling"], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            line = until(lambda: next((x for x in self.lines if "serving on " in x), ""), "signaling serves")
        except AssertionError:
            self.stop()
            raise AssertionError("signaling did not start: " + "".join(self.lines)) from None
        self.url = line.rsplit(" ", 1)[1].strip()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
        self.process.stderr.close()

    def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        self.process.terminate()
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(5)
        return status


@contextlib.contextmanager
def signaling_process(nats_url: str, **environment: str) -> Iterator[SignalingProcess]:
    service = SignalingProcess(nats_url, **environment)
    try:
        yield service
    finally:
        service.stop()


@dataclass
class StandIn:
    """One part that announces itself and answers, until it is stopped."""

    announcement: TransceiverAnnouncement | RelayAnnouncement | None = None
    reply: Message | bytes | None = None
    """What a transceiver answers to an offer; None: nothing, ever."""
    answers_after: threading.Event | None = None
    """It answers only when this is set."""
    opened: list[OpenRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    exchanged: Message | None = None
    """What a transceiver answers to ICE credentials without an offer."""
    withdrawn: list[str] = field(default_factory=list)
    """Prepared calls that it was asked to withdraw."""
    withdrawal: Message | None = None
    """What it answers then; None: nothing."""
    hung_up: list[str] = field(default_factory=list)
    """Sessions that it was asked to end."""
    transferred: list[TransferCall] = field(default_factory=list)
    """What was asked of its call."""
    refuses: str = ""
    """The text with which it refuses every request for a call; empty: it does what it is asked for."""
    status: CallStatus | None = None
    """What it says of its call; None: that it runs."""
    stands_still: bool = False
    """It takes requests for its call and never answers."""
    agent: str = "concierge"
    """The agent that has its call."""
    undo: list[Callable[[], Coroutine[Any, Any, Any]]] = field(default_factory=list)


class StandIns:
    """Transceivers, relays and agents played on NATS, from a thread of their own."""

    def __init__(self, nats_url: str, access: Access = OPEN) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client: Client = self._do(connection.connect(nats_url, "test", access))
        self._do(self._make_limits())
        self.running: list[StandIn] = []
        """In the order in which they began."""

    async def _make_limits(self) -> None:
        await stores.ensure(self._client, stores.STORES[subjects.BUCKET_LIMITS])

    def without_limits(self) -> None:
        """Delete the store of uses and rates."""
        self._do(self._client.jetstream().delete_key_value(subjects.BUCKET_LIMITS))

    def with_limits(self) -> None:
        """Make it, as `setup` does when NATS comes back empty."""
        self._do(self._make_limits())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(10)

    def close(self) -> None:
        for part in list(self.running):
            self.stop(part)
        self._do(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def publish(self, subject: str, data: bytes) -> None:
        """Publish a message."""

        async def send() -> None:
            await self._client.publish(subject, data)
            await connection.flush(self._client)

        self._do(send())

    def listen(self, subject: str) -> Callable[[], bytes]:
        """Receive on a subject from now on; call the result for the next message."""

        async def begin() -> Subscription:
            subscription = await self._client.subscribe(subject)
            await connection.flush(self._client)
            return subscription

        subscription = self._do(begin())
        return lambda: self._do(subscription.next_msg(timeout=10)).data

    def stop(self, part: StandIn) -> None:
        """It stops at once, as if killed: when this returns, the server passes nothing on to it."""
        self.running.remove(part)
        for undo in reversed(part.undo):
            self._do(undo())
        self._do(connection.flush(self._client))

    def transceiver(
        self,
        slot: int = 1,
        *,
        sessions: int = 0,
        capacity: int = 10,
        lateness_ms: float = 0.0,
        state: str = "ready",
        reply: Message | bytes | None = None,
        silent: bool = False,
        unreachable: bool = False,
        answers_after: threading.Event | None = None,
        cluster: int = 0,
        region: str = "",
        place: Place | None = None,
        session_id: str = "",
    ) -> StandIn:
        """`silent`: takes requests and never answers; `unreachable`: announced, but it has no subscriptions.

        `session_id`: the call that it has, for instance one that it adopted.
        """
        session_id = session_id or f"rtc_{cluster * 1000 + slot:024d}"
        announcement = TransceiverAnnouncement.model_validate(
            {
                "cluster": cluster,
                "slot": slot,
                "epoch": 1,
                "tunnel_address": f"10.0.0.{slot}:5000",
                "state": state,
                "sessions": sessions,
                "capacity": capacity,
                "lateness_ms": lateness_ms,
                "region": region,
                "place": place,
            }
        )
        if reply is None and not silent:
            reply = Opened(session_id=session_id, answer=ANSWER, cluster=cluster)
        part = StandIn(announcement, reply, answers_after)

        async def on_open(message: Msg) -> None:
            part.opened.append(decode(message.data, OpenRequest))
            part.headers.append(dict(message.headers or {}))
            if part.opened[-1].ice is not None and part.exchanged is not None:
                await message.respond(encode(part.exchanged))
                return
            if (withdrawn := part.opened[-1].withdraw) is not None:
                part.opened.pop()
                part.withdrawn.append(withdrawn)
                if part.withdrawal is not None:
                    await message.respond(encode(part.withdrawal))
                return
            while part.answers_after is not None and not part.answers_after.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            if part.reply is not None:
                await message.respond(part.reply if isinstance(part.reply, bytes) else encode(part.reply))

        async def on_call(message: Msg) -> None:
            asked_for, kind = subjects.parse_call_subject(message.subject)
            if asked_for != session_id or part.stands_still:
                return
            if kind == "open":
                await on_open(message)
            elif kind == "hang_up":
                decode(message.data, HangUp)
                part.hung_up.append(session_id)
                await message.respond(encode(ControlReply(ok=not part.refuses, message=part.refuses)))
            elif kind == "transfer":
                part.transferred.append(decode(message.data, TransferCall))
                await message.respond(encode(ControlReply(ok=not part.refuses, message=part.refuses or "done")))
            elif kind == "attach":
                agent = "" if part.refuses else part.agent
                await message.respond(
                    encode(AttachReply(ok=bool(agent), agent=agent, message=part.refuses, cluster=cluster))
                )
            elif kind == "status" and not part.refuses:
                running = CallStatus(session_id=session_id, state="running", connected=True, spoke=True)
                await message.respond(encode(part.status or running))

        async def begin() -> None:
            if not unreachable:
                opens = await self._client.subscribe(subjects.transceiver_open(cluster, slot), cb=on_open)
                call = await self._client.subscribe(subjects.call_all(session_id), cb=on_call)
                elsewhere = await self._client.subscribe(subjects.cluster_calls(cluster), cb=on_call)
                part.undo += [opens.unsubscribe, call.unsubscribe, elsewhere.unsubscribe]
            await self._stand(part, "antiphon-transceiver", subjects.transceiver_announce(cluster, slot))

        return self._begin(part, begin())

    def operated(self, owner: StandIn, calls: list[CallSummary]) -> list[str]:
        """The transceiver lists these calls (`calls` may change) and takes drains: the subjects of those."""
        assert isinstance(owner.announcement, TransceiverAnnouncement)
        place = owner.announcement
        drains: list[str] = []

        async def on_list(message: Msg) -> None:
            asked = decode(message.data, ListCalls)
            found = [each for each in calls if not asked.session_ids or each.session_id in asked.session_ids]
            answer = CallList(owner="STAND-IN", cluster=place.cluster, slot=place.slot, total=len(found), calls=found)
            await message.respond(encode(answer))

        async def on_drain(message: Msg) -> None:
            drains.append(message.subject)
            await message.respond(encode(ControlReply(ok=True, message="it drains")))

        async def begin() -> None:
            wildcard = subjects.process_drain("antiphon-transceiver", "any").replace(".any", ".*")
            for subject, callback in ((subjects.CALLS_LIST, on_list), (wildcard, on_drain)):
                owner.undo.append((await self._client.subscribe(subject, cb=callback)).unsubscribe)
            await connection.flush(self._client)

        self._do(begin())
        return drains

    def relay(
        self, name: str = "r1", *addresses: str, state: str = "ready", tcp_addresses: Sequence[str] = (), **said: Any
    ) -> StandIn:
        """`said`: further fields of its announcement."""
        announcement = RelayAnnouncement.model_validate(
            {
                **said,
                "name": name,
                "public_addresses": addresses or ("203.0.113.10:3478",),
                "tunnel_addresses": ["10.0.1.1:4000"],
                "tcp_addresses": tcp_addresses,
                "state": state,
            }
        )
        part = StandIn(announcement)
        return self._begin(part, self._stand(part, "antiphon-relay", subjects.relay_announce(name)))

    def agent(self, name: str = "concierge", trouble: str = "") -> StandIn:
        part = StandIn()
        metadata = {"agent": name} | ({service_discovery.TROUBLE: trouble} if trouble else {})
        return self._begin(part, self._stand(part, service_discovery.AGENT_SERVICE, None, metadata))

    def _begin(self, part: StandIn, work: Coroutine[Any, Any, None]) -> StandIn:
        self._do(work)
        self.running.append(part)
        return part

    async def _stand(
        self, part: StandIn, service: str, subject: str | None, metadata: dict[str, str] | None = None
    ) -> None:
        registered = await service_discovery.register(self._client, service, metadata)
        part.undo.append(registered.stop)
        if subject is not None:
            task = asyncio.create_task(self._announce(part, subject))

            async def cancel() -> None:
                await tasks.end(task)

            part.undo.append(cancel)
        await connection.flush(self._client)

    async def _announce(self, part: StandIn, subject: str) -> None:
        while True:
            assert part.announcement is not None
            await self._client.publish(subject, encode(part.announcement))
            await asyncio.sleep(0.2)
