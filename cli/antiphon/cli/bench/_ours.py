"""The transceiver that `antiphon bench transceiver` measures, and one lean process that is relay, clients and agent."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgpack

from antiphon.cli.bench._clients import PERIOD, Load, LoadClient, recording
from antiphon.cli.bench._figures import cpu_seconds, lateness_ms, percentile, stolen_seconds, waited_seconds
from antiphon.cli.bench._nats_wire import NatsWire
from antiphon.cli.bench._processes import START_SECONDS, process
from antiphon.cli.errors import UsageError
from antiphon.cli.sdp import Answer
from antiphon.schemas import messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame, FrameFlag, pack_frame
from antiphon.schemas.messages import decode, decode_any, encode
from antiphon.transceiver.dtls_handshake import Certificate

LEAD: Final = 5
"""Frames that the agent is ahead of the caller, so that the transceiver's clock and not our own paces speech."""
AGENT: Final = "bench-echo"
NO_CANDIDATE: Final = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
"""Signaling would name the relays; we are the relay."""


def cores() -> tuple[int, int]:
    """(core of what is measured, core of the rest); the same one if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


class Ours:
    """A running transceiver, its clients, and the agent that echoes to them."""

    def __init__(self, url: str, pid: int) -> None:
        self.pid = pid
        self.load = Load()
        self.wire = NatsWire(url)
        self.load.selector.register(self.wire.socket, 1, self.wire.readable)
        self.load.deliver = self._deliver
        self.load.each_step = self._each_step
        self.arrival_ms: list[float] = []
        """Packet sent by a client to frame read by the agent."""
        self.decoded_ms: list[float] = []
        """Packet sent to frame made: without NATS and without us."""
        self.answered_ms: list[float] = []
        """First frame of a reply published to its packet on the wire."""
        self._packets = recording()
        self._certificate = Certificate()
        self._headers: dict[bytes, LoadClient] = {}
        self._lines: dict[bytes, _Line] = {}
        self._probing = False
        self._announced_at = 0.0
        self._announcement: messages.TransceiverAnnouncement | None = None
        self._replies: dict[bytes, LoadClient] = {}
        self._refused: list[str] = []
        self.wire.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, self._transceiver_announced)
        self.wire.subscribe(subjects.agent_claim(AGENT), self._claimed)
        self.wire.subscribe("antiphon.v1.session.*.audio.in", self._heard)
        self.wire.subscribe("_INBOX.bench.*", self._opened)
        if not self.load.run(START_SECONDS, lambda: self._announcement is not None):
            raise UsageError("the transceiver for this bench does not start")

    def join(self, count: int) -> None:
        """So many more sessions, up to the end of their handshakes."""
        assert self._announcement is not None
        subject = subjects.transceiver_open(0, self._announcement.slot).encode()
        owner = tuple(parse_address(self._announcement.tunnel_address))
        while count > 10:  # a rush as big as this process can serve as agent and as client in time
            self.join(10)
            count -= 10
        for _ in range(count):
            header = tunnel.pack_header(Address("192.0.2.1", 1024 + len(self._headers)))
            client = LoadClient(
                self._certificate,
                lambda data, header=header: self.load.socket.sendto(header + data, owner),  # type: ignore[misc]
                self._packets,
            )
            self._headers[header] = client
            self.load.add(client)
            inbox = b"_INBOX.bench.%d" % len(self._headers)
            self._replies[inbox] = client
            self.wire.publish(subject, encode(messages.OpenRequest(offer=client.offer(), agent=AGENT)), inbox)
        self.wire.flush()
        was, self.load.speaking = self.load.speaking, False
        up = self.load.run(START_SECONDS, lambda: all(client.connected for client in self.load.clients))
        self.load.run(0.2)  # the other ends have their last flights to read before they take media
        self.load.speaking = was
        if not up:
            reasons = "; ".join(sorted(set(self._refused))) or "their handshakes do not end"
            raise UsageError(f"not all of {len(self.load.clients)} sessions came up: {reasons}")

    def talk(self, seconds: float) -> dict[str, Any]:
        """Everybody speaks and hears themselves: CPU per session, lateness, delays."""
        self.load.speaking = True
        self._probing = False
        self.load.run(1.5)  # lead and decoders settle
        self.arrival_ms.clear()
        self.decoded_ms.clear()
        since = {id(client): len(client.heard) for client in self.load.clients}
        began, cpu = time.monotonic(), cpu_seconds(self.pid)
        waited, stolen = waited_seconds(self.pid), stolen_seconds()
        self.load.run(seconds)
        elapsed, cpu = time.monotonic() - began, cpu_seconds(self.pid) - cpu
        late = lateness_ms(self.load.clients, since)
        count = len(self.load.clients)
        heard = sum(len(client.heard) - since[id(client)] for client in self.load.clients)
        return {
            "sessions": count,
            "core_percent": cpu / elapsed * 100,
            "waited_percent": (waited_seconds(self.pid) - waited) / elapsed * 100,
            "stolen_percent": (stolen_seconds() - stolen) / elapsed * 100,
            "cpu_percent_per_session": cpu / elapsed * 100 / count,
            "late_p50": percentile(late, 50),
            "late_p99": percentile(late, 99),
            "complete": heard / (elapsed / PERIOD * count),
            "arrival_to_nats": (percentile(self.arrival_ms, 50), percentile(self.arrival_ms, 99)),
            "arrival_to_frame": (percentile(self.decoded_ms, 50), percentile(self.decoded_ms, 99)),
        }

    def probe(self, seconds: float) -> tuple[float, float]:
        """Everybody speaks, replies are single frames now and then: NATS message to packet on the wire, ms."""
        self._probing = True
        self.load.run(0.5)
        self.answered_ms.clear()
        self.load.run(seconds)
        return percentile(self.answered_ms, 50), percentile(self.answered_ms, 99)

    def close(self) -> None:
        self.load.close()
        self.wire.close()

    # ---- relay, signaling, agent

    def _deliver(self, packet: bytes, source: tuple[str, int], arrived_ns: int) -> None:
        client = self._headers.get(packet[:8])
        if client is None or len(packet) == tunnel.IPV4_HEADER:
            return
        heard = len(client.heard)
        client.receive(packet[8:], arrived_ns)
        if self._probing and len(client.heard) > heard:
            line = self._lines[client.session_id.encode()]
            if line.asked_ns:
                self.answered_ms.append((arrived_ns - line.asked_ns) / 1e6)
                line.asked_ns = 0

    def _each_step(self) -> None:
        now = time.monotonic()
        if now - self._announced_at > 0.5:
            self._announced_at = now
            here = str(Address(*self.load.socket.getsockname()))
            relay = messages.RelayAnnouncement(name="bench", public_addresses=[here], tunnel_addresses=[here])
            self.wire.publish(subjects.relay_announce("bench").encode(), encode(relay))
        self.wire.flush()

    def _transceiver_announced(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        self._announcement = decode(payload, messages.TransceiverAnnouncement)

    def _claimed(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        claim = decode(payload, messages.Claim)
        self._lines[claim.session_id.encode()] = _Line(claim.session_id)
        self.wire.publish(reply, encode(messages.ClaimReply(accepted=True, input_rate=24000)))

    def _opened(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        opened = decode_any(payload, messages.OPEN_REPLY, "OpenReply")
        if isinstance(opened, messages.Refused):
            self._refused.append(opened.message)
            return
        client = self._replies.pop(subject)
        client.session_id = opened.session_id
        self._lines[opened.session_id.encode()].client = client
        client.begin(Answer(opened.answer + NO_CANDIDATE))

    def _heard(self, subject: bytes, reply: bytes, payload: bytes) -> None:
        now = time.time_ns()
        line = self._lines.get(subject.split(b".", 4)[3])
        if line is None or line.client is None:
            return
        frame = msgpack.unpackb(payload)
        if frame[5] & FrameFlag.SILENCE:
            return
        number, line.frames = line.frames, line.frames + 1
        if number < len(line.client.sent_ns):
            sent = line.client.sent_ns[number]
            self.arrival_ms.append((now - sent) / 1e6)
            self.decoded_ms.append((frame[3] - sent) / 1e6)
        if self._probing:
            # One frame in six, each session in its own turn, each the whole of a reply.
            if (number + line.turn) % 6 == 0 and not line.asked_ns:
                flags = int(FrameFlag.END_OF_UTTERANCE)
                whole = AudioFrame(frame[1], frame[2], frame[3], frame[4], flags, 0, frame[7])
                line.asked_ns = time.time_ns()
                self.wire.publish(line.out, pack_frame(whole))
            return
        for _ in range(LEAD if not number else 1):
            self.wire.publish(line.out, payload)


class _Line:
    """A session as the agent knows it."""

    def __init__(self, session_id: str) -> None:
        self.out = subjects.audio_out(session_id).encode()
        self.client: LoadClient | None = None
        self.frames = 0
        self.turn = secrets.randbelow(6)
        self.asked_ns = 0


@contextmanager
def ours(url: str, core: int, hand_over: bool = True) -> Iterator[Ours]:
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
        running = Ours(url, child.pid)
        try:
            yield running
        finally:
            running.close()
