"""Two sessions with the same state and keys: media of one goes the ordinary way, that of the other by lanes."""

from __future__ import annotations

import socket
from dataclasses import asdict

from support.peers.session_call import PASSWORD_KEY, unix_ns

from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages, tunnel
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.lanes.lanes import Lanes
from antiphon.transceiver.net.datagram_batch import receive_batch
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState
from antiphon.transceiver.timing.timing_wheel import TimingWheel

UNTOLD = ("sctp", "dtls")
"""Parts of a state that have numbers drawn at random."""


class Twin:
    """One of both, with all that it makes. The `Output` of its session."""

    def __init__(self, with_lanes: bool, header: bytes) -> None:
        """`header`: of its client."""
        self.header = header
        self.frames: list[AudioFrame] = []
        self.events: list[messages.Message] = []
        self.datagrams: list[bytes] = []
        """Of media, with their tunnel headers."""
        self.by_lane = 0
        """Frames that a lane made."""
        self.audio_subject = "antiphon.v1.session.a.rtc_test.audio.in"
        self.relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.relay.bind(("127.0.0.1", 0))
        self.relay.setblocking(False)
        self._held = HeldDatagrams()
        self.port: TunnelSocket | None = TunnelSocket("127.0.0.1", 0, self._held)
        self._demux = Demux()
        self._lanes = Lanes(self._demux, self, self._held) if with_lanes else None
        self._batch = receive_batch(socket.AF_INET)
        self.session: Session
        self.wheel: TimingWheel

    def begin(self, written: bytes, now: float) -> None:
        """Go on from what another process has handed over."""
        state = SessionState.from_bytes(written)
        state.handed_over = True
        state.path_header, state.path_relay = self.header, self.relay.getsockname()
        self.wheel = TimingWheel(now)
        self.session = Session(
            state, None, PASSWORD_KEY, False, self, now, self.wheel.add, self.wheel.remove, on_end=self._removed
        )
        self._demux.add(self.session)
        if self._lanes is not None:
            self._lanes.add(self.session, self)
        self.session.restore(now)
        self.session.resume(now)
        self._demux.adopt(self.session)

    def arrives(self, packet: bytes, relay: tuple[str, int], now: float) -> None:
        """A tunnel packet is read, as `TunnelReceiver` does it; from our relay if no other is named."""
        relay = relay if relay[1] else self.relay.getsockname()
        batch = self._batch
        assert batch is not None
        batch.octets[: len(packet)] = packet
        lane = self._lanes.inbound.at(batch.octets, 0) if self._lanes is not None else None
        row = batch.octets, 0, batch.pointers[0], len(packet), relay, now, unix_ns(now)
        if lane is not None and lane.receive(*row):
            return
        self._demux.receive(packet, relay, now, unix_ns(now))

    def visit(self, now: float) -> None:
        """Visits and polls that are due, and what the relay gets of them."""
        if self._lanes is not None:
            self._held.hold()
        self.wheel.run(now, lambda: now)
        self.session.poll(now)
        self._held.release()
        if self._lanes is not None:
            self._lanes.poll()
        while True:
            try:
                self._note(self.relay.recv(4096))
            except BlockingIOError:
                return

    def hand_over(self, now: float) -> bytes:
        written = self.session.export(now)
        self.session.detach()
        return written

    def told(self) -> dict[str, object]:
        """All of its state that the same packets must have made the same."""
        state = asdict(self.session.state)
        state["path_relay"] = None
        return {name: value for name, value in state.items() if name not in UNTOLD}

    def close(self) -> None:
        self.session.detach()
        if self.port is not None:
            self.port.close()
        self.relay.close()

    def _removed(self, session: Session) -> None:
        self._demux.remove(session)
        if self._lanes is not None:
            self._lanes.session_removed(session.state.session_id)

    def _note(self, datagram: bytes) -> None:
        hop = tunnel.header_length(datagram)
        if len(datagram) > hop and 127 < datagram[hop] < 192:
            self.datagrams.append(datagram)

    # ---- the output

    def publish_message(self, message: bytes) -> None:
        line, _, payload = message.partition(b"\r\n")
        verb, subject, size = line.split()
        assert (verb, subject.decode(), int(size)) == (b"PUB", self.audio_subject, len(payload) - 2)
        assert payload.endswith(b"\r\n")
        self.by_lane += 1
        self.frames.append(unpack_frame(payload[:-2]))

    def datagram(self, path: Path, data: bytes) -> None:
        if self._lanes is None:
            self._note(path.header + data)
        elif self.port is not None:
            self.port.send(path.header + data, path.relay)

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def message(self, message: messages.DataMessage) -> None: ...
    def turn(self, told: Told) -> None: ...
    def milestone(self, name: str, now: float) -> None: ...
    def first_packet(self, path: Path, now: float) -> None: ...
    def move(self, agent: str) -> None: ...
