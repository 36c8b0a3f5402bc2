"""The transceiver that `antiphon bench transceiver` measures, and one lean process that is relay, clients and agent."""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgpack

from antiphon.bench._lib.processes import START_SECONDS, process
from antiphon.bench.media.lateness import Frame
from antiphon.bench.media.load_clients import PERIOD, Load, LoadClient, recording
from antiphon.bench.media.nats_wire import NatsWire
from antiphon.cli.call.sdp import Answer
from antiphon.cli.errors import UsageError
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.schemas import messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame, FrameFlag, pack_frame
from antiphon.schemas.messages import decode, decode_any, encode

LEAD: Final = 5
"""Frames that the agent is ahead of the caller, so that the transceiver's clock and not our own paces speech. It keeps
this lead by the clock: an echo frame for frame would lose it with the first frame that is lost, and from then on each
frame would race its own 20 ms."""
RUSH: Final = 10
"""Joins at a time: clients that speak meet no more handshakes than a server sees in a busy minute."""
PROBED: Final = 5
"""Sessions that take part in a probe."""
SAMPLES: Final = 480
"""Of a frame at the rate that the agent asks for."""
AGENT: Final = "bench-echo"
NO_CANDIDATE: Final = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
"""Signaling would name the relays; we are the relay."""


class TransceiverUnderTest:
    """Running transceivers, their clients, and the agent that echoes to them.

    Owned by `transceiver_under_test`, which closes it; used from one thread.
    """

    has_agent = True

    def __init__(self, url: str, pid: int, processes: int = 1) -> None:
        """`processes`: transceivers to wait for; sessions go to each in turn."""
        self.pid = pid
        self.load = Load(self._deliver, self._each_step)
        self.wire = NatsWire(url)
        self.load.selector.register(self.wire.socket, 1, self.wire.readable)
        self.reply_to_wire_ms: list[float] = []
        """First frame of a reply published to its packet on the wire."""
        self._packets = recording()
        self._certificate = Certificate()
        self._headers: dict[bytes, LoadClient] = {}
        self._sessions: dict[bytes, _EchoSession] = {}
        self._announced_at = 0.0
        self._announcements: dict[int, messages.TransceiverAnnouncement] = {}
        """By slot."""
        self._replies: dict[bytes, LoadClient] = {}
        self._refused: list[str] = []
        self._replies_due: list[tuple[float, _EchoSession, bytes]] = []
        """(monotonic time, session, frame) of replies: at a random instant of the next 20 ms, because agent and caller
        have clocks of their own."""
        self.wire.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, self._transceiver_announced)
        self.wire.subscribe(subjects.agent_claim(AGENT), self._claimed)
        self.wire.subscribe(f"antiphon.v1.session.{AGENT}.*.audio.in", self._frame_received)
        self.wire.subscribe("_INBOX.bench.*", self._opened)
        if not self.load.run(START_SECONDS, lambda: len(self._announcements) >= processes):
            raise UsageError("the transceiver for this bench does not start")

    def join(self, count: int, rush: int = RUSH) -> bool:
        """So many more sessions, `rush` at a time; they speak from then on. False if some do not come up."""
        while count > 0:
            if not self._join(min(count, rush)):
                return False
            count -= rush
        return True

    def begin_call(self) -> LoadClient:
        """One more session; its client speaks as soon as it is connected."""
        number = len(self._headers)
        announcement = self._announcements[sorted(self._announcements)[number % len(self._announcements)]]
        owner = tuple(parse_address(announcement.tunnel_address))
        header = tunnel.pack_header(Address("192.0.2.1", 1024 + number))
        client = LoadClient(
            self._certificate,
            lambda data: self.load.socket.sendto(header + data, owner),
            self._packets,
            self.load.take_turn,
        )
        self._headers[header] = client
        self.load.add(client)
        inbox = b"_INBOX.bench.%d" % len(self._headers)
        self._replies[inbox] = client
        subject = subjects.transceiver_open(0, announcement.slot).encode()
        self.wire.publish(subject, encode(messages.OpenRequest(offer=client.offer(), agent=AGENT)), inbox)
        return client

    def end_call(self, client: LoadClient) -> None:
        """Its agent hangs up, and the client says no more. One whose offer is not answered yet just goes."""
        self.load.remove(client)
        if client.session_id:
            subject = subjects.session_control(AGENT, client.session_id).encode()
            self.wire.publish(subject, encode(messages.HangUp()))

    def _join(self, count: int) -> bool:
        for _ in range(count):
            self.begin_call()
        self.wire.flush()
        return self.load.run(START_SECONDS, lambda: all(client.connected for client in self.load.clients[-count:]))

    @property
    def refused(self) -> str:
        """Why sessions did not come up."""
        return "; ".join(sorted(set(self._refused))) or "their handshakes do not end"

    def probe(self, seconds: float) -> list[float]:
        """While the others go on, a few agents reply with single frames: NATS message to packet on the wire, ms."""
        probed = list(self._sessions.values())[:: max(1, len(self._sessions) // PROBED)]
        for session in probed:
            session.probe(True)
        self.load.run(LEAD * PERIOD + 0.4)  # the lead is played out
        self.reply_to_wire_ms.clear()
        self.load.run(seconds)
        self._replies_due.clear()
        for session in probed:
            session.probe(False)
        return list(self.reply_to_wire_ms)

    def close(self) -> None:
        self.load.close()
        self.wire.close()

    # ---- relay, signaling, agent

    def _deliver(self, packet: bytes, source: tuple[str, int], arrived_ns: int) -> None:
        client = self._headers.get(packet[:8])
        if client is None or len(packet) == tunnel.IPV4_HEADER:
            return
        received = len(client.received)
        client.receive(packet[8:], arrived_ns)
        if len(client.received) > received and client.session_id:
            sent_ns = self._sessions[client.session_id.encode()].reply_arrived()
            if sent_ns is not None:
                self.reply_to_wire_ms.append((arrived_ns - sent_ns) / 1e6)

    def _each_step(self) -> None:
        now = time.monotonic()
        if now - self._announced_at > 0.5:
            self._announced_at = now
            here = str(Address(*self.load.socket.getsockname()))
            relay = messages.RelayAnnouncement(name="bench", public_addresses=[here], tunnel_addresses=[here])
            self.wire.publish(subjects.relay_announce("bench").encode(), encode(relay))
        for reply in [reply for reply in self._replies_due if reply[0] <= now]:
            self._replies_due.remove(reply)
            reply[1].reply_sent(time.time_ns())
            self.wire.publish(reply[1].out, reply[2])
        self.wire.flush()

    def _transceiver_announced(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        announcement = decode(payload, messages.TransceiverAnnouncement)
        self._announcements[announcement.slot] = announcement

    def _claimed(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        claim = decode(payload, messages.Claim)
        self._sessions[claim.session_id.encode()] = _EchoSession(claim.session_id)
        self.wire.publish(reply, encode(messages.ClaimReply(accepted=True, input_rate=24000)))

    def _opened(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        opened = decode_any(payload, messages.OPEN_REPLY, "OpenReply")
        if isinstance(opened, messages.Refused):
            self._refused.append(opened.message)
            return
        client = self._replies.pop(subject)
        self._sessions[opened.session_id.encode()].serve(client)
        client.begin(Answer(opened.answer + NO_CANDIDATE), opened.session_id)

    def _frame_received(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        now = time.time_ns()
        session = self._sessions.get(subject.split(b".", 5)[4])
        if session is None:
            return
        echoes, whole_reply = session.receive(payload, now)
        for frame in echoes:
            self.wire.publish(session.out, frame)
        if whole_reply:
            self._replies_due.append((time.monotonic() + random.random() * PERIOD, session, whole_reply))


class _EchoSession:
    """A session as the echo agent knows it. Owned by `TransceiverUnderTest`, used from its thread."""

    def __init__(self, session_id: str) -> None:
        self.out = subjects.audio_out(AGENT, session_id).encode()
        self._client: LoadClient | None = None
        self._frames = 0
        self._turn = secrets.randbelow(6)
        self._probing = False
        self._replied_ns = 0
        """When the last reply of the probe was published; -1 until it is, 0 if none is on its way."""
        self._last = b""
        self._began = 0.0
        self._published = 0

    def serve(self, client: LoadClient) -> None:
        """The open reply has come: frames before it count nowhere."""
        self._client = client

    def probe(self, on: bool) -> None:
        """Reply with single frames instead of an echo, or echo again."""
        self._probing, self._replied_ns, self._began = on, 0, 0.0

    def receive(self, payload: bytes, now_ns: int) -> tuple[list[bytes], bytes]:
        """(frames to publish at once, a whole reply to publish a little later or nothing) for a frame of the caller."""
        if self._client is None:
            return [], b""
        fields = msgpack.unpackb(payload)
        self._client.receive_frame(Frame(fields[2] // SAMPLES, fields[5], fields[3], now_ns))
        if fields[5] & FrameFlag.SILENCE:
            payload = self._last or payload  # the echo stays speech: silence costs other than speech
        self._last = payload
        if not self._probing:
            return [payload] * self._due(), b""
        self._frames += 1
        # One frame in six, each session in its own turn, each the whole of a reply.
        if (self._frames + self._turn) % 6 or self._replied_ns:
            return [], b""
        self._replied_ns = -1
        flags = int(FrameFlag.END_OF_UTTERANCE)
        return [], pack_frame(AudioFrame(fields[1], fields[2], fields[3], fields[4], flags, 0, fields[7]))

    def reply_sent(self, now_ns: int) -> None:
        """The whole reply is published now."""
        self._replied_ns = now_ns

    def reply_arrived(self) -> int | None:
        """When the reply was published whose packet has arrived at the client; None if none was on its way."""
        if self._replied_ns <= 0:
            return None
        sent_ns, self._replied_ns = self._replied_ns, 0
        return sent_ns

    def _due(self) -> int:
        """Frames to publish now, so that the agent is `LEAD` ahead again; frames that are late are left out."""
        now = time.monotonic()
        if not self._began:
            self._began, self._published = now, 0
        due = LEAD + round((now - self._began) / PERIOD) - self._published
        self._published += max(0, due)
        return min(max(0, due), LEAD)


@contextmanager
def transceiver_under_test(
    url: str, core: int, hand_over: bool = True, processes: int = 1
) -> Iterator[TransceiverUnderTest]:
    """`processes`: so many on that core, started by one parent."""
    settings = {
        "ANTIPHON_NATS_URL": url,
        "ANTIPHON_ROUTE_KEYS": f"A:{secrets.token_hex(16)}",
        "ANTIPHON_PASSWORD_KEY": secrets.token_hex(32),
        "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
        "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
        "ANTIPHON_CAPACITY": "1000",
        "ANTIPHON_MAX_LATENESS_MS": "100000",
        "ANTIPHON_LOG_LEVEL": "WARNING",
        "ANTIPHON_HAND_OVER": str(int(hand_over)),
        "ANTIPHON_TRANSCEIVER_PROCESSES": str(processes),
        "ANTIPHON_METRICS_BIND": "127.0.0.1:0",
    }
    with process([sys.executable, "-m", "antiphon.transceiver"], core, settings) as child:
        running = TransceiverUnderTest(url, child.pid, processes)
        try:
            yield running
        finally:
            running.close()
