"""The transceiver that `antiphon bench transceiver` measures, and one lean process that is relay, clients and agent."""

from __future__ import annotations

import os
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
"""Joins at a time: those who speak are not held up by more handshakes than a server sees in a busy minute."""
PROBED: Final = 5
"""Sessions that take part in a probe."""
SAMPLES: Final = 480
"""Of a frame at the rate that the agent asks for."""
AGENT: Final = "bench-echo"
NO_CANDIDATE: Final = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
"""Signaling would name the relays; we are the relay."""


def cores() -> tuple[int, int]:
    """(core of what is measured, core of the rest); the same one if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


class Ours:
    """A running transceiver, its clients, and the agent that echoes to them."""

    has_agent = True

    def __init__(self, url: str, pid: int) -> None:
        self.pid = pid
        self.load = Load()
        self.wire = NatsWire(url)
        self.load.selector.register(self.wire.socket, 1, self.wire.readable)
        self.load.deliver = self._deliver
        self.load.each_step = self._each_step
        self.answered_ms: list[float] = []
        """First frame of a reply published to its packet on the wire."""
        self._packets = recording()
        self._certificate = Certificate()
        self._headers: dict[bytes, LoadClient] = {}
        self._lines: dict[bytes, _Line] = {}
        self._announced_at = 0.0
        self._announcement: messages.TransceiverAnnouncement | None = None
        self._replies: dict[bytes, LoadClient] = {}
        self._refused: list[str] = []
        self._asks: list[tuple[float, _Line, bytes]] = []
        """Replies that are said at a random instant of the next 20 ms: an agent keeps no time with its caller."""
        self.wire.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, self._transceiver_announced)
        self.wire.subscribe(subjects.agent_claim(AGENT), self._claimed)
        self.wire.subscribe("antiphon.v1.session.*.audio.in", self._heard)
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
        probed = list(self._lines.values())[:: max(1, len(self._lines) // PROBED)]
        for line in probed:
            line.probing = True
        self.load.run(LEAD * PERIOD + 0.4)  # what it was ahead is played out
        self.answered_ms.clear()
        self.load.run(seconds)
        self._asks.clear()
        for line in probed:
            line.probing, line.asked_ns, line.began = False, 0, 0.0
        return list(self.answered_ms)

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
        if len(client.heard) > heard and client.session_id:
            line = self._lines[client.session_id.encode()]
            if line.asked_ns > 0:
                self.answered_ms.append((arrived_ns - line.asked_ns) / 1e6)
                line.asked_ns = 0

    def _each_step(self) -> None:
        now = time.monotonic()
        if now - self._announced_at > 0.5:
            self._announced_at = now
            here = str(Address(*self.load.socket.getsockname()))
            relay = messages.RelayAnnouncement(name="bench", public_addresses=[here], tunnel_addresses=[here])
            self.wire.publish(subjects.relay_announce("bench").encode(), encode(relay))
        for ask in [ask for ask in self._asks if ask[0] <= now]:
            self._asks.remove(ask)
            ask[1].asked_ns = time.time_ns()
            self.wire.publish(ask[1].out, ask[2])
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
        fields = msgpack.unpackb(payload)
        line.client.frames.append(Frame(fields[2] // SAMPLES, fields[5], fields[3], now))
        if fields[5] & FrameFlag.SILENCE:
            line.client.made_up += 1
            payload = line.last or payload  # speech goes on: silence costs other than speech
        line.last = payload
        if not line.probing:
            for _ in range(line.due()):
                self.wire.publish(line.out, payload)
            return
        line.frames += 1
        # One frame in six, each session in its own turn, each the whole of a reply.
        if (line.frames + line.turn) % 6 == 0 and not line.asked_ns:
            flags = int(FrameFlag.END_OF_UTTERANCE)
            whole = AudioFrame(fields[1], fields[2], fields[3], fields[4], flags, 0, fields[7])
            line.asked_ns = -1
            self._asks.append((time.monotonic() + random.random() * PERIOD, line, pack_frame(whole)))


class _Line:
    """A session as the agent knows it."""

    def __init__(self, session_id: str) -> None:
        self.out = subjects.audio_out(session_id).encode()
        self.client: LoadClient | None = None
        self.frames = 0
        self.turn = secrets.randbelow(6)
        self.probing = False
        self.asked_ns = 0
        self.last = b""
        self.began = 0.0
        self._published = 0

    def due(self) -> int:
        """Frames to say now, so that the agent is `LEAD` ahead again; what it did not say in time is left out."""
        now = time.monotonic()
        if not self.began:
            self.began, self._published = now, 0
        due = LEAD + round((now - self.began) / PERIOD) - self._published
        self._published += max(0, due)
        return min(max(0, due), LEAD)


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
