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
from antiphon.cli.errors import UsageError
from antiphon.cli.sdp import Answer
from antiphon.rtc.dtls.handshake import Certificate
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
    """A running transceiver, its clients, and the agent that echoes to them.

    Owned by `transceiver_under_test`, which closes it; used from one thread.
    """

    has_agent = True

    def __init__(self, url: str, pid: int) -> None:
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
        self._announcement: messages.TransceiverAnnouncement | None = None
        self._replies: dict[bytes, LoadClient] = {}
        self._refused: list[str] = []
        self._replies_due: list[tuple[float, _EchoSession, bytes]] = []
        """(monotonic time, session, frame) of replies: at a random instant of the next 20 ms, because agent and caller
        have clocks of their own."""
        self.wire.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, self._transceiver_announced)
        self.wire.subscribe(subjects.agent_claim(AGENT), self._claimed)
        self.wire.subscribe("antiphon.v1.session.*.audio.in", self._frame_received)
        self.wire.subscribe("_INBOX.bench.*", self._opened)
        if not self.load.run(START_SECONDS, lambda: self._announcement is not None):
            raise UsageError("the transceiver for this bench does not start")

    def join(self, count: int, rush: int = RUSH) -> bool:
        """So many more sessions, `rush` at a time; they speak from then on. False if some do not come up."""
        while count > 0:
            if not self._join(min(count, rush)):
                return False
            count -= rush
        return True

    def _join(self, count: int) -> bool:
        assert self._announcement is not None
        subject = subjects.transceiver_open(0, self._announcement.slot).encode()
        owner = tuple(parse_address(self._announcement.tunnel_address))
        for _ in range(count):
            header = tunnel.pack_header(Address("192.0.2.1", 1024 + len(self._headers)))
            client = LoadClient(
                self._certificate,
                lambda data, header=header: self.load.socket.sendto(header + data, owner),  # type: ignore[misc]
                self._packets,
                self.load.take_turn,
            )
            self._headers[header] = client
            self.load.add(client)
            inbox = b"_INBOX.bench.%d" % len(self._headers)
            self._replies[inbox] = client
            self.wire.publish(subject, encode(messages.OpenRequest(offer=client.offer(), agent=AGENT)), inbox)
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
            session.probing = True
        self.load.run(LEAD * PERIOD + 0.4)  # the lead is played out
        self.reply_to_wire_ms.clear()
        self.load.run(seconds)
        self._replies_due.clear()
        for session in probed:
            session.probing, session.replied_ns, session.began = False, 0, 0.0
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
            session = self._sessions[client.session_id.encode()]
            if session.replied_ns > 0:
                self.reply_to_wire_ms.append((arrived_ns - session.replied_ns) / 1e6)
                session.replied_ns = 0

    def _each_step(self) -> None:
        now = time.monotonic()
        if now - self._announced_at > 0.5:
            self._announced_at = now
            here = str(Address(*self.load.socket.getsockname()))
            relay = messages.RelayAnnouncement(name="bench", public_addresses=[here], tunnel_addresses=[here])
            self.wire.publish(subjects.relay_announce("bench").encode(), encode(relay))
        for reply in [reply for reply in self._replies_due if reply[0] <= now]:
            self._replies_due.remove(reply)
            reply[1].replied_ns = time.time_ns()
            self.wire.publish(reply[1].out, reply[2])
        self.wire.flush()

    def _transceiver_announced(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        self._announcement = decode(payload, messages.TransceiverAnnouncement)

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
        client.session_id = opened.session_id
        self._sessions[opened.session_id.encode()].client = client
        client.begin(Answer(opened.answer + NO_CANDIDATE))

    def _frame_received(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        now = time.time_ns()
        session = self._sessions.get(subject.split(b".", 4)[3])
        if session is None or session.client is None:
            return
        fields = msgpack.unpackb(payload)
        session.client.frames.append(Frame(fields[2] // SAMPLES, fields[5], fields[3], now))
        if fields[5] & FrameFlag.SILENCE:
            session.client.silence_frames += 1
            payload = session.last or payload  # speech goes on: silence costs other than speech
        session.last = payload
        if not session.probing:
            for _ in range(session.due()):
                self.wire.publish(session.out, payload)
            return
        session.frames += 1
        # One frame in six, each session in its own turn, each the whole of a reply.
        if (session.frames + session.turn) % 6 == 0 and not session.replied_ns:
            flags = int(FrameFlag.END_OF_UTTERANCE)
            whole = AudioFrame(fields[1], fields[2], fields[3], fields[4], flags, 0, fields[7])
            session.replied_ns = -1
            self._replies_due.append((time.monotonic() + random.random() * PERIOD, session, pack_frame(whole)))


class _EchoSession:
    """A session as the echo agent knows it. Owned by `TransceiverUnderTest`."""

    def __init__(self, session_id: str) -> None:
        self.out = subjects.audio_out(session_id).encode()
        self.client: LoadClient | None = None
        self.frames = 0
        self.turn = secrets.randbelow(6)
        self.probing = False
        self.replied_ns = 0
        self.last = b""
        self.began = 0.0
        self._published = 0

    def due(self) -> int:
        """Frames to publish now, so that the agent is `LEAD` ahead again; frames that are late are left out."""
        now = time.monotonic()
        if not self.began:
            self.began, self._published = now, 0
        due = LEAD + round((now - self.began) / PERIOD) - self._published
        self._published += max(0, due)
        return min(max(0, due), LEAD)


@contextmanager
def transceiver_under_test(url: str, core: int, hand_over: bool = True) -> Iterator[TransceiverUnderTest]:
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
    }
    with process([sys.executable, "-m", "antiphon.transceiver"], core, settings) as child:
        running = TransceiverUnderTest(url, child.pid)
        try:
            yield running
        finally:
            running.close()
