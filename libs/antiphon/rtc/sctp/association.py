"""One SCTP association over DTLS (RFC 9260, RFC 8261): packets and `now` in, packets and events out. Sans-IO.

The owner calls `receive`, `poll`, `send` and `close`, and takes `packets` and `events` after each. Nothing that a
peer sends makes it raise, take more time than a packet should, or hold more than a window. It sends no HEARTBEAT and
never gives up because of loss: ICE's consent decides whether the client lives (RFC 7675). It ends by ABORT, as
browsers do.
"""

from __future__ import annotations

import logging
import secrets
import struct
from collections import deque
from typing import Final, Literal

from antiphon.rtc.sctp import handshake, packet
from antiphon.rtc.sctp.acknowledgement import AcknowledgementTimer
from antiphon.rtc.sctp.congestion import FIRST_RTO, MAX_PACKET
from antiphon.rtc.sctp.events import (
    AcknowledgementDue,
    Closed,
    Established,
    Event,
    Restarted,
    StreamsClosed,
    StreamsReset,
)
from antiphon.rtc.sctp.inbound import AssociationError, Fragment, Inbound
from antiphon.rtc.sctp.outbound import Outbound
from antiphon.rtc.sctp.outgoing import OutgoingMessage
from antiphon.rtc.sctp.pacing import MessagePacing, PacketPacing
from antiphon.rtc.sctp.packet import SctpError, pack_chunk, pack_packet, pack_sack, read_packet
from antiphon.rtc.sctp.stream_reset import StreamReset

log = logging.getLogger(__name__)

ABORT_AGAIN: Final = 1.0
"""Seconds: a peer that still sends so long after our ABORT has not received it, and gets another one."""
MAX_INIT_RTO: Final = 1.0
"""Seconds between two INITs or COOKIE-ECHOs."""
MAX_INITS: Final = 60
"""After so many the peer's INIT is awaited: then it has none of ours, or no SCTP."""
MAX_SHUTDOWN_ACKS: Final = 5

PROTOCOL_VIOLATION: Final = 13
STALE_COOKIE: Final = 3

State = Literal["closed", "cookie_wait", "cookie_echoed", "established", "shutdown_received", "shutdown_ack_sent"]


class Association:
    """One association from its start to its end.

    Owner: `DataChannels`, from one thread. `packets` and `events` are the owner's to empty.
    """

    def __init__(self, tag: int = 0, tsn: int | None = None, port: int = 5000) -> None:
        """`tag` and `tsn` are random if they are not given."""
        self.state: State = "closed"
        self.packets: deque[bytes] = deque()
        """To be sent, in order."""
        self.events: deque[Event] = deque()
        """In order; `Message` among them."""
        self.holds_acknowledgements = False
        """Acknowledgements wait for `send_acknowledgement`; `AcknowledgementDue` says when one is due."""
        self.port, self.remote_port = port, port
        self.tag = tag or secrets.randbelow(0xFFFFFFFF) + 1
        """In every packet of the peer."""
        self.peer_tag = 0
        self.first_tsn = secrets.randbits(32) if tsn is None else tsn
        self.cookie_key = secrets.token_bytes(16)
        self.peer_resets = False
        """The peer understands RE-CONFIG."""
        self.inbound = Inbound(0)
        self.outbound = Outbound(self.first_tsn)
        self.resets = StreamReset(self.first_tsn, 0)
        self.held: list[OutgoingMessage] = []
        """Messages for streams that are being reset."""
        self._control: list[bytes] = []
        """Chunks for the next packet."""
        self._responses: list[bytes] = []
        """Answers to resets, where acknowledgements are held."""
        self._handshake_at: float | None = None
        """When INIT, COOKIE-ECHO or SHUTDOWN-ACK is repeated."""
        self._handshake_rto, self._handshakes = FIRST_RTO, 0
        self._cookie = b""
        """The peer's."""
        self._acknowledging = AcknowledgementTimer()
        self._reading, self._delivering = PacketPacing(), MessagePacing()
        self._failed_at: float | None = None
        self._timeout: float | None = None

    # ---- what the owner calls

    @property
    def established(self) -> bool:
        return self.state == "established"

    @property
    def closed(self) -> bool:
        """Not begun, or ended."""
        return self.state == "closed"

    @property
    def timeout(self) -> float | None:
        """When `poll` is to be called next; None: nothing is waited for."""
        return self._timeout

    @property
    def busy(self) -> bool:
        """Packets or messages wait for their turn: the next `poll` is due within milliseconds."""
        return self._reading.due is not None or self._delivering.due is not None

    def start(self, remote_port: int, now: float) -> None:
        """Send an INIT; the peer does so, too."""
        self.remote_port = remote_port
        self.state = "cookie_wait"
        self._send_init(now)
        self._finish(now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one packet of the peer, now or in its turn."""
        if self.closed and self._failed_at is None:
            return
        if self._reading.takes(data, now):
            self._take(data, now)
            self._finish(now)
        else:
            self._set_timeout()

    def poll(self, now: float) -> None:
        """Do what is due; call it at `timeout` or somewhat later."""
        if self._timeout is None or now < self._timeout:
            return
        if self._reading.due is not None and now >= self._reading.due:
            for data in self._reading.waited(now):
                self._take(data, now)
        if self._delivering.due is not None and now >= self._delivering.due:
            self._deliver(now)
            # The peer may have stopped at a closed window, and a checkpoint has to hold what was delivered.
            self._acknowledging.at_once()
        if self._handshake_at is not None and now >= self._handshake_at:
            self._repeat_handshake(now)
        if self._sends and self.outbound.expires_at is not None and now >= self.outbound.expires_at:
            self.outbound.expired(now)
        if self.resets.expires_at is not None and now >= self.resets.expires_at:
            request = self.resets.expired(self.outbound, now)
            if request is not None:
                self._control.append(request)
            else:
                self._reset_done(self.resets.done(self.outbound))
        self._finish(now)

    def send(self, message: OutgoingMessage, now: float) -> None:
        """Queue a message, before the association is established as well."""
        self._queue(message)
        self._finish(now)

    def reset(self, stream: int, now: float) -> None:
        """Close our side of a stream behind what was sent on it; `StreamsClosed` follows."""
        self.resets.want(stream)
        self._finish(now)

    def close(self, now: float) -> None:
        """End at once, with an ABORT if there is an association; no event follows."""
        if self.peer_tag and not self.closed:
            self._control.append(pack_chunk(packet.ABORT))
            self._bundle(self._control, self.packets)
        self._end()

    def detach(self) -> None:
        """End and send nothing: another process has the association."""
        self._end()
        self.packets.clear()

    def resume(self, now: float) -> None:
        """Continue after it was restored."""
        self.outbound.resume()
        if self.resets.requested:
            self.resets.expires_at = now
        self._deliver(now)
        self._finish(now)

    @property
    def unsent(self) -> int:
        """Octets of messages that wait for room."""
        return self.outbound.buffered + sum(len(message.payload) for message in self.held)

    @property
    def unacknowledged(self) -> int:
        """Messages and chunks that the peer has not acknowledged."""
        return self.outbound.messages + len(self.held)

    def acknowledgement(self) -> list[bytes]:
        """What is acknowledged now, as chunks for `send_acknowledgement`; each duplicate is reported once."""
        duplicates = self.inbound.duplicates[:]
        self.inbound.duplicates.clear()
        self._acknowledging.clear()
        responses, self._responses = self._responses, []
        return [pack_sack(self.inbound.tsn, self.inbound.window, self.inbound.gaps(), duplicates), *responses]

    def send_acknowledgement(self, chunks: list[bytes], now: float) -> None:
        """Send what `acknowledgement` returned, and what may be sent beside it."""
        if not self.closed:
            self._control += chunks
            self._finish(now)

    # ---- packets

    def _take(self, data: bytes, now: float) -> None:
        try:
            chunks = read_packet(data, self.tag, self.peer_tag)
        except SctpError as error:
            log.debug("sctp: dropped a packet of %d bytes: %s", len(data), error)
            return
        if self._failed_at is not None:
            if now - self._failed_at >= ABORT_AGAIN:
                self._failed_at = now
                self._abort("aborted before")
            return
        foreign = packet.verification_tag(data) != self.tag
        try:
            for kind, flags, body in chunks:
                if foreign and kind == packet.DATA:
                    break  # bundled with a COOKIE-ECHO that was not taken
                self._take_chunk(kind, flags, body, packet.verification_tag(data), now)
                foreign = foreign and packet.verification_tag(data) != self.tag
                if self.closed:
                    return
        except AssociationError as error:
            self._failed_at = now
            self._abort(str(error))
            self._end()
            self.events.append(Closed(str(error), False))

    def _take_chunk(self, kind: int, flags: int, body: bytes, tag: int, now: float) -> None:
        if kind == packet.DATA:
            if self._has_peer:
                self._take_data(flags, body, now)
        elif kind == packet.SACK:
            if self._has_peer:
                self._take_sack(body, now)
        elif kind == packet.HEARTBEAT:
            if self._has_peer and len(body) <= MAX_PACKET - 16:
                self._control.append(pack_chunk(packet.HEARTBEAT_ACK, body))
        elif kind == packet.FORWARD_TSN:
            if self._has_peer:
                (tsn,) = struct.unpack_from("!L", body)
                self.inbound.forward(tsn, list(struct.iter_unpack("!HH", body[4:])))
                self._acknowledging.at_once()
                self._after_data(now)
        elif kind == packet.RE_CONFIG:
            if self._has_peer:
                self._take_re_config(body, now)
        elif kind == packet.INIT:
            self._take_init(body)
        elif kind == packet.INIT_ACK:
            self._take_init_ack(body, now)
        elif kind == packet.COOKIE_ECHO:
            self._take_cookie(body, tag, now)
        elif kind == packet.COOKIE_ACK:
            if self.state == "cookie_echoed":
                self._establish()
        elif kind == packet.ERROR:
            self._take_error(body, now)
        else:
            self._take_end(kind, body, now)

    @property
    def _has_peer(self) -> bool:
        """The peer's numbers are known."""
        return self.state not in ("closed", "cookie_wait")

    @property
    def _sends(self) -> bool:
        return self.state in ("established", "shutdown_received")

    def _abort(self, reason: str) -> None:
        if self.peer_tag:
            cause = packet.pack_parameter(PROTOCOL_VIOLATION, reason.encode())
            self.packets.append(self._pack([pack_chunk(packet.ABORT, cause)]))

    def _pack(self, chunks: list[bytes]) -> bytes:
        return pack_packet(self.port, self.remote_port, self.peer_tag, chunks)

    # ---- the beginning

    def _send_init(self, now: float) -> None:
        init = handshake.pack_our_init(self.tag, self.first_tsn)
        self.packets.append(pack_packet(self.port, self.remote_port, 0, [init]))
        self._repeat_later(now)

    def _repeat_later(self, now: float) -> None:
        self._handshakes += 1
        self._handshake_at = now + self._handshake_rto
        self._handshake_rto = min(2 * self._handshake_rto, MAX_INIT_RTO)

    def _repeat_handshake(self, now: float) -> None:
        self._handshake_at = None
        if self.state == "shutdown_ack_sent":
            if self._handshakes < MAX_SHUTDOWN_ACKS:
                self._control.append(pack_chunk(packet.SHUTDOWN_ACK))
                self._repeat_later(now)
            else:
                self._end()
        elif self._handshakes >= MAX_INITS:
            return
        elif self.state == "cookie_wait":
            self._send_init(now)
        elif self.state == "cookie_echoed":
            self.packets.append(self._pack([pack_chunk(packet.COOKIE_ECHO, self._cookie)]))
            self._repeat_later(now)

    def _take_init(self, body: bytes) -> None:
        peer, _ = handshake.read_init(body)
        if self._has_peer and self.state != "cookie_echoed":
            # The peer may have begun anew. Until its cookie says so, nothing changes (section 5.2.2).
            tag, tsn = secrets.randbelow(0xFFFFFFFF) + 1, secrets.randbits(32)
            cookie = handshake.Cookie(peer, tag, tsn, self.tag, self.peer_tag)
        else:
            tag, tsn = self.tag, self.first_tsn
            cookie = handshake.Cookie(peer, tag, tsn)
        answer = handshake.pack_our_init(tag, tsn, handshake.seal_cookie(self.cookie_key, cookie))
        self.packets.append(pack_packet(self.port, self.remote_port, peer.tag, [answer]))

    def _take_init_ack(self, body: bytes, now: float) -> None:
        if self.state != "cookie_wait":
            return
        peer, cookie = handshake.read_init(body)
        if not cookie:
            return
        self._meet(peer)
        self.state, self._cookie = "cookie_echoed", cookie
        self._handshake_rto, self._handshakes = FIRST_RTO, 0
        self._control.insert(0, pack_chunk(packet.COOKIE_ECHO, cookie))  # data may follow it in its packet
        self._repeat_later(now)

    def _take_cookie(self, body: bytes, tag: int, now: float) -> None:
        cookie = handshake.open_cookie(self.cookie_key, body)
        if cookie is None or cookie.tag != tag:
            return
        if cookie.tag == self.tag:
            if self.state in ("cookie_wait", "cookie_echoed"):
                if cookie.peer.tag != self.peer_tag:
                    self._meet(cookie.peer)
                self._establish()
            elif cookie.peer.tag != self.peer_tag:
                return
            self._control.insert(0, pack_chunk(packet.COOKIE_ACK))
        elif self.established and (cookie.tie_tag, cookie.tie_peer_tag) == (self.tag, self.peer_tag):
            self.tag, self.first_tsn = cookie.tag, cookie.tsn
            self.outbound = Outbound(cookie.tsn)
            self.held.clear()
            self._control.clear()
            self.resets.wanted.clear()
            self._meet(cookie.peer)
            self._control.append(pack_chunk(packet.COOKIE_ACK))
            self.events.append(Restarted())

    def _meet(self, peer: handshake.Init) -> None:
        self.peer_tag, self.peer_resets = peer.tag, peer.resets
        self.inbound = Inbound((peer.tsn - 1) & 0xFFFFFFFF)
        self.outbound.peer_window = peer.window
        self.outbound.partially_reliable = peer.forwards
        wanted = self.resets.wanted
        self.resets = StreamReset(self.first_tsn, (peer.tsn - 1) & 0xFFFFFFFF, wanted=wanted)

    def _establish(self) -> None:
        self.state = "established"
        self._handshake_at = None
        self.events.append(Established())

    def _take_error(self, body: bytes, now: float) -> None:
        if self.state == "cookie_echoed" and any(kind == STALE_COOKIE for kind, _ in packet.read_parameters(body)):
            self.state = "cookie_wait"
            self._send_init(now)

    # ---- the end

    def _take_end(self, kind: int, body: bytes, now: float) -> None:
        if kind == packet.ABORT:
            self._end()
            self.events.append(Closed("the client aborted the association", True))
        elif kind == packet.SHUTDOWN:
            if self.state in ("established", "shutdown_received"):
                (tsn,) = struct.unpack("!L", body)
                self.outbound.acknowledge(tsn, self.outbound.peer_window + self.outbound.flight, [], now)
                self.state = "shutdown_received"  # `_finish` answers when nothing is outstanding
            elif self.state == "shutdown_ack_sent":
                self._control.append(pack_chunk(packet.SHUTDOWN_ACK))
        elif kind == packet.SHUTDOWN_ACK:
            self.packets.append(self._pack([pack_chunk(packet.SHUTDOWN_COMPLETE)]))
        elif kind == packet.SHUTDOWN_COMPLETE and self.state == "shutdown_ack_sent":
            self._end()

    def _end(self) -> None:
        self.state = "closed"
        self._reading.clear()
        self._delivering.due = None
        self._acknowledging.stop()
        self._control.clear()
        self._handshake_at = self._timeout = None
        self.resets.expires_at = None

    # ---- data

    def _take_data(self, flags: int, body: bytes, now: float) -> None:
        tsn, stream, sequence, protocol = struct.unpack_from("!LHHL", body)
        inbound = self.inbound
        complete = not inbound.has_gaps
        before = inbound.cumulative
        inbound.receive(Fragment(flags & 7, tsn, stream, sequence, protocol, body[12:]))
        in_order = complete and inbound.cumulative == before + 1
        self._acknowledging.arrived(now, in_order and not flags & packet.AT_ONCE)
        self._after_data(now)

    def _after_data(self, now: float) -> None:
        if self._delivering.due is None:
            self._deliver(now)
        self._settle_resets()

    def _deliver(self, now: float) -> None:
        """Deliver whole messages, as many as the limits allow now; the others follow later."""
        if not self.inbound.ready:
            self._delivering.due = None
            return
        self.events.extend(self._delivering.take(self.inbound, now))
        if self._delivering.due is None:
            self._settle_resets()

    def _take_sack(self, body: bytes, now: float) -> None:
        tsn, window, count, _ = struct.unpack_from("!LLHH", body)
        gaps = [(first, last) for first, last in struct.iter_unpack("!HH", body[12 : 12 + 4 * count])]
        self.outbound.acknowledge(tsn, window, gaps, now)

    # ---- closing of streams

    def _take_re_config(self, body: bytes, now: float) -> None:
        for kind, value in packet.read_parameters(body):
            if kind == packet.RESET_RESPONSE:
                self._reset_done(self.resets.answered(value, self.outbound, now))
            elif packet.RESET_OUTGOING <= kind <= packet.ADD_INCOMING:
                answer = self.resets.asked(kind, value)
                if answer is None:
                    self._settle_resets(True)
                else:
                    self._respond(answer)

    def _settle_resets(self, asked: bool = False) -> None:
        """Reset the peer's streams once all that it sent before has been delivered; until then, say so if `asked`."""
        deferred = self.resets.deferred
        if deferred is None:
            return
        behind = (self.inbound.cumulative - deferred.tsn) & 0xFFFFFFFF
        complete = behind < 0x80000000 and not self.inbound.ready
        if complete:
            streams = deferred.streams or [number for number, _, _ in self.inbound.streams()]
            self.inbound.reset(streams)
            self.events.append(StreamsReset(streams))
        if complete or asked:
            self._respond(self.resets.settle(complete))

    def _respond(self, answer: bytes) -> None:
        if self.holds_acknowledgements:
            self._responses = [*self._responses[-1:], answer]
            self._acknowledging.at_once()
        else:
            self._control.append(answer)

    def _reset_done(self, streams: list[int]) -> None:
        if not streams:
            return
        self.events.append(StreamsClosed(streams))
        held, self.held = self.held, []
        for message in held:
            self._queue(message)

    def _queue(self, message: OutgoingMessage) -> None:
        if self.resets.is_pending(message.stream):
            self.held.append(message)
        else:
            self.outbound.queue(message)

    # ---- after each call

    def _finish(self, now: float) -> None:
        """Send what may be sent now, and note when to go on."""
        if self.state == "established":
            if self.resets.wanted and not self.resets.requested:
                self._begin_reset(now)
            self._acknowledge_if_due(now)
            self._control += self.outbound.transmit(now)
        elif self.state == "cookie_echoed":
            self._acknowledge_if_due(now)
            if self._control and self._control[0][0] == packet.COOKIE_ECHO:
                self._control += self.outbound.transmit(now)
        elif self.state == "shutdown_received":
            if self.outbound.idle:
                self._shut_down(now)
            else:
                self._control += self.outbound.transmit(now)
        if self._control:
            self._bundle(self._control, self.packets)
            self._control = []
        self._set_timeout()

    def _acknowledge_if_due(self, now: float) -> None:
        if not self._acknowledging.is_due(now):
            return
        if self.holds_acknowledgements:
            self._acknowledging.clear()
            self.events.append(AcknowledgementDue())
        else:
            self._acknowledging.sent(now)
            self._control += self.acknowledgement()

    def _begin_reset(self, now: float) -> None:
        if not self.peer_resets:
            self._reset_done(self.resets.take_ready(self.outbound))
            return
        request = self.resets.begin(self.outbound, now)
        if request is not None:
            self._control.append(request)

    def _shut_down(self, now: float) -> None:
        self.state = "shutdown_ack_sent"
        self._control.append(pack_chunk(packet.SHUTDOWN_ACK))
        self._handshake_rto, self._handshakes = FIRST_RTO, 0
        self._repeat_later(now)
        self.events.append(Closed("the client shut the association down", True))

    def _bundle(self, chunks: list[bytes], packets: deque[bytes]) -> None:
        """As few packets as the path takes."""
        begin, size = 0, 12
        for number, chunk in enumerate(chunks):
            if size + len(chunk) > MAX_PACKET and number > begin:
                packets.append(self._pack(chunks[begin:number]))
                begin, size = number, 12
            size += len(chunk)
        packets.append(self._pack(chunks[begin:]))

    def _set_timeout(self) -> None:
        self._timeout = min(
            (
                at
                for at in (
                    self.outbound.expires_at if self._sends else None,
                    self._acknowledging.expires_at,
                    self._handshake_at,
                    self._reading.due,
                    self._delivering.due,
                    self.resets.expires_at,
                )
                if at is not None
            ),
            default=None,
        )
