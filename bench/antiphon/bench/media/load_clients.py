"""Many WebRTC clients on one socket and one thread, without asyncio: checks, handshake, prerecorded Opus.

A client speaks from its join to the end without a pause. It takes no part in decoding what comes back: RTP headers are
in the clear, and the kernel's own arrival times tell how punctual they were, however busy this process is. It also
notes how late the clients themselves are: a load generator that stumbles must not count as a server that does.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from antiphon.bench.media.lateness import SILENCE, Frame
from antiphon.cli.call.ice_check import is_authentic_success, pack_binding_request
from antiphon.cli.call.sdp import PAYLOAD_TYPE, Answer, make_offer
from antiphon.rtc import stun
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import DtlsHandshake
from antiphon.rtc.media import opus
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.schemas.addresses import Address

PERIOD: Final = 0.020
SLOTS: Final = 20
RATE: Final = 24000
SPEAK_AFTER: Final = 0.2
"""Seconds from the end of a client's handshake to its first packet: the other end has the last flight to read first,
and that packet's timestamp is position 0 of the agent's frames."""
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY: Final = socket.CMSG_SPACE(_TIMESPEC.size)


def recording(seconds: float = 4.0) -> list[bytes]:
    """Opus packets of something like speech: a buzz with syllables and breath, as its encoder would see them."""
    time_ = np.arange(int(seconds * RATE)) / RATE
    pitch = np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time_)) / RATE
    buzz = sum(np.sin(2 * np.pi * n * pitch) / n for n in range(1, 24))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time_) + 0.4, 0, 1)
    breath = np.random.default_rng(7).normal(0, 0.05, time_.size)
    pcm = ((buzz * 0.3 + breath) * syllables * 9000).astype("<i2").tobytes()
    encoder, size = opus.Encoder(RATE, 32000, 5), RATE // 50 * 2
    return [encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size)]


class LoadClient:
    """One call: when each packet left, and when each one came back. Owned by its `Load`, used from its thread."""

    def __init__(
        self,
        certificate: Certificate,
        send: Callable[[bytes], object],
        packets: list[bytes],
        take_turn: Callable[[Callable[[], None]], None],
    ) -> None:
        """`take_turn` runs a step of the handshake (milliseconds) between two clients that speak."""
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.session_id = ""
        self.connected = False
        self.sent_ns: list[int] = []
        """Wall clock at which packet n left."""
        self.received: list[tuple[int, int]] = []
        """(kernel's arrival time in ns, RTP timestamp) of packets that came back since the window began."""
        self.frames: list[Frame] = []
        """Frames that its agent received since the window began."""
        self.silence_frames = 0
        """Frames of silence that its agent ever received."""
        self.speaks_from: float | None = None
        """By the monotonic clock; None until its handshake is done."""
        self._certificate = certificate
        self._send = send
        self._packets = packets
        self._take_turn = take_turn
        self._answer: Answer | None = None
        self._handshake: DtlsHandshake | None = None
        self._srtp: Srtp | None = None
        self._ssrc = secrets.randbits(31) + 1
        self._sequence, self._timestamp = secrets.randbits(15), secrets.randbits(31)

    def offer(self) -> str:
        return make_offer(self.ufrag, self.password, self._certificate.fingerprint, self._ssrc, data_channel=False)

    def begin(self, answer: Answer, session_id: str = "") -> None:
        """Check and connect from now on. `session_id`: where frames of the call go over NATS."""
        self._answer, self.session_id = answer, session_id

    def check(self) -> None:
        """Ask once more, until the handshake is done."""
        if self._answer is not None and not self.connected:
            name = f"{self._answer.ufrag}:{self.ufrag}"
            self._send(pack_binding_request(name, self._answer.password, use_candidate=True))
            if self._handshake is not None:
                self._handshake.poll(time.monotonic())
                self._flush()

    def speak(self) -> None:
        """Send the next prerecorded packet."""
        assert self._srtp is not None
        number = len(self.sent_ns)
        payload = self._packets[number % len(self._packets)]
        packet = pack_rtp(PAYLOAD_TYPE, not number, self._sequence, self._timestamp, self._ssrc, payload)
        protected = self._srtp.protect(packet)
        self.sent_ns.append(time.time_ns())
        self._send(protected)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + 960) & 0xFFFFFFFF

    def forget(self) -> None:
        """A window begins."""
        self.received, self.frames = [], []

    def receive_frame(self, frame: Frame) -> None:
        """Its agent has received a frame."""
        self.frames.append(frame)
        if frame.flags & SILENCE:
            self.silence_frames += 1

    def receive(self, datagram: bytes, arrived_ns: int) -> None:
        first = datagram[0] if datagram else 255
        if 127 < first < 192:
            if not 64 <= datagram[1] & 0x7F < 96:
                self.received.append((arrived_ns, int.from_bytes(datagram[4:8], "big")))
        elif 19 < first < 64:
            if not self.connected:
                self._take_turn(lambda: self._shake(datagram))
        elif first < 4 and self._answer is not None:
            if datagram[:2] == b"\0\1":  # a full ICE agent checks us in turn
                self._answer_check(datagram)
            elif is_authentic_success(datagram, self._answer.password) and self._answer.passive:
                self._take_turn(lambda: self._shake(b""))

    def _answer_check(self, datagram: bytes) -> None:
        try:
            request = stun.unpack_binding_request(datagram)
        except stun.StunError:
            return
        here = Address("127.0.0.1", 9)
        self._send(stun.pack_binding_success(request.transaction_id, here, self.password.encode()))

    def _shake(self, datagram: bytes) -> None:
        assert self._answer is not None
        if self.connected:
            return
        now = time.monotonic()
        if self._handshake is None:
            answer = self._answer
            self._handshake = DtlsHandshake(self._certificate, answer.fingerprints, answer.passive, now)
            if answer.passive:
                self._handshake.start(now)
        if datagram:
            self._handshake.receive(datagram, now)
        self._flush()
        if self._handshake.keys is not None:
            self._srtp = Srtp(self._handshake.keys.srtp, self._ssrc)
            self._handshake = None
            self.connected = True
            self.speaks_from = now + SPEAK_AFTER

    def _flush(self) -> None:
        assert self._handshake is not None
        for out in self._handshake.outgoing():
            self._send(out)


class Load:
    """All clients, their socket and the clock that makes them speak.

    Owned by what is measured (`TransceiverUnderTest`, `AiortcCalls`), which closes it; all of it runs in one thread.
    """

    def __init__(
        self,
        deliver: Callable[[bytes, tuple[str, int], int], None] = lambda data, source, arrived_ns: None,
        each_step: Callable[[], None] = lambda: None,
    ) -> None:
        """`deliver(datagram, source, arrival in ns)` gets every datagram; `each_step` runs once per turn and writes
        what batches its output."""
        self.selector = selectors.DefaultSelector()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.selector.register(self.socket, selectors.EVENT_READ, self._readable)
        self.clients: list[LoadClient] = []
        self._deliver, self._each_step = deliver, each_step
        self.late_ms = array("d")
        """Of each packet since the window began: due time to sending."""
        self._slots: list[list[LoadClient]] = [[] for _ in range(SLOTS)]
        self._due = time.monotonic()
        self._step = 0
        self._steps: deque[Callable[[], None]] = deque()
        """Of handshakes: one per turn, so that a client that speaks is late by one of them at most."""
        self._next_check = 0.0

    def add(self, client: LoadClient) -> None:
        self.clients.append(client)
        min(self._slots, key=len).append(client)

    def remove(self, client: LoadClient) -> None:
        self.clients.remove(client)
        for slot in self._slots:
            if client in slot:
                slot.remove(client)

    def take_turn(self, step: Callable[[], None]) -> None:
        self._steps.append(step)

    def forget(self) -> None:
        """A window begins."""
        self.late_ms = array("d")
        for client in self.clients:
            client.forget()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Turn for so long, or until the condition holds: whether it does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if until():
                return True
            self.turn(end)
        return until()

    def turn(self, end: float = 0.0) -> None:
        """Wait for something to do, not beyond `end`, and do it."""
        now = time.monotonic()
        wait = 0.0 if self._steps else max(0.0, min(self._due, end) - now)
        for key, _ in self.selector.select(wait):
            key.data()
        self._speak()
        if self._steps:
            self._steps.popleft()()
        self._each_step()
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + 0.1
            for client in self.clients:
                if not client.connected:
                    self.take_turn(client.check)

    def _speak(self) -> None:
        while (now := time.monotonic()) >= self._due:
            late = (now - self._due) * 1000
            for client in self._slots[self._step]:
                if client.speaks_from is not None and now >= client.speaks_from:
                    client.speak()
                    self.late_ms.append(late)
            self._step = (self._step + 1) % SLOTS
            # After a stop of a second the packets of that time are left out: no server would get such a flood.
            self._due = now if late > 1000 else self._due + PERIOD / SLOTS

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, ancillary, _, source = self.socket.recvmsg(2048, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2]) if ancillary else (0, time.time_ns())
            self._deliver(data, source, seconds * 1_000_000_000 + nanoseconds)

    def close(self) -> None:
        self.selector.close()
        self.socket.close()
