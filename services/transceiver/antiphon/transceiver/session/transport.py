"""What carries one call between us and its client: DTLS handshake, records and SRTP over the path that ICE has chosen.

Datagrams in, packets and messages for the engines above out. It decides nothing about the call: how its handshake ends,
and that the client has closed, are told to the upper layer. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from antiphon.rtc import stun
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import Keys
from antiphon.rtc.dtls.record_layer import (
    ALERT,
    APPLICATION_DATA,
    CLOSE_NOTIFY,
    HANDSHAKE,
    DtlsRecords,
    RecordCounters,
)
from antiphon.rtc.dtls.setup import UNASKED, DtlsSetup
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas.addresses import Address
from antiphon.transceiver.ice.agent import IceLite, Path
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import UNLIMITED, AudioSender
from antiphon.transceiver.session.alerts import HandshakeAlerts, cause_of_end
from antiphon.transceiver.session.budget import REPORT_BYTES, PacketBudget
from antiphon.transceiver.session.output import Output
from antiphon.transceiver.session.state import SessionState

FINAL_FLIGHTS: Final = (2, 8)
"""Repetitions of our last flight per second, and at once: a client's timer for it begins at a second."""

Step = Callable[[float], None]


class UpperLayer(Protocol):
    """What the transport tells the session, inside `receive`, `receive_stray` or a step of `take_turn`."""

    def packet_taken(self, now: float) -> None:
        """The receiver wants to be visited from now on: it has its first packet."""

    def receive_data(self, payload: bytes, now: float) -> None:
        """One SCTP packet of the client."""

    def may_speak(self, now: float) -> None:
        """Our media can be sent; the client's is not accepted yet."""

    def shook_hands(self, now: float) -> None:
        """Keys for both directions are there."""

    def handshake_failed(self, text: str, now: float) -> None: ...
    def closed_by_client(self, cause: str, now: float) -> None:
        """An authentic alert ends the call."""


class Transport:
    """Owner: the `Session`, for its whole life; event loop only. After `close` nothing is received or sent."""

    def __init__(
        self,
        state: SessionState,
        ice: IceLite,
        budget: PacketBudget,
        receiver: AudioReceiver,
        sender: AudioSender,
        certificate: Certificate | None,
        dtls_client: bool,
        upper: UpperLayer,
        output: Output,
        take_turn: Callable[[Step, float], None],
        unix_offset: float,
    ) -> None:
        """`output` gets the datagrams. `take_turn` runs a costly step of the handshake, now or when running calls allow
        it. A call that another process began needs no certificate.
        """
        self.srtp: Srtp | None = None
        """What decrypts media of the client; None before its handshake is done and after the end."""
        self.setup = DtlsSetup(
            certificate,
            state.remote_fingerprints,
            dtls_client,
            self.send,
            self._shook_hands,
            upper.handshake_failed,
            self._may_send_media,
            UNASKED,
        )
        """Its handshake. The wheel polls it."""
        self._state, self._ice, self._budget = state, ice, budget
        self._receiver, self._sender = receiver, sender
        self._upper, self._output, self._take_turn = upper, output, take_turn
        self._unix_offset = unix_offset
        self._records: DtlsRecords | None = None
        self._records_limit = UNLIMITED
        """The first DTLS record number that may not be used yet."""
        self._speech_srtp: Srtp | None = None
        """What protects our speech before the client's Finished is there; `srtp` from then on."""
        self._handshake_path: Path | None = None
        """By which the newest datagram of the handshake arrived."""
        self._final_flights = TokenBucket(*FINAL_FLIGHTS)
        self._alerts = HandshakeAlerts()

    @property
    def connected(self) -> bool:
        """The handshake has finished, and `close` was not called."""
        return self._records is not None

    @property
    def record_counters(self) -> RecordCounters:
        return self._records.counters if self._records is not None else RecordCounters()

    # ---- from the client -------------------------------------------------------------------------

    def check(self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float) -> bool:
        """Answer a connectivity check; True if it was authentic and no replay."""
        outcome = self._ice.check(request, datagram, client, path, now)
        if outcome != "refused":
            self._budget.checks.spend(1)
        return outcome == "taken"

    def receive(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> None:
        """A datagram that is not STUN, from a checked client address (RFC 7983 tells them apart)."""
        first = datagram[0]
        if 127 < first < 192:
            if self.srtp is not None and self._budget.media.admits(now):
                self._receive_media(self.srtp, datagram, path, now, unix_ns)
        elif 19 < first < 64:
            if self._records is not None:
                if self._budget.records.admits(now):
                    self._receive_records(self._records, datagram, path, now)
            elif self.setup.running and self._budget.handshake.admits(now):
                self._budget.handshake.spend(1)
                self._ice.credit(path, len(datagram))
                self._take_turn(lambda later: self._step_on(datagram, path, later), now)

    def receive_stray(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> bool:
        """SRTP from an unknown address; True if it is this client's newest: then its address is known from now on."""
        if self.srtp is None or not self._budget.media.admits(now) or is_rtcp(datagram):
            return False
        unprotected = self.srtp.unprotect(datagram)
        if unprotected is None or not unprotected[1]:
            return False
        self._ice.learn(path, len(datagram), now)
        self._take_packet(unprotected[0], unprotected[1], path, now, unix_ns, len(datagram))
        return True

    def _receive_media(self, srtp: Srtp, datagram: bytes, path: Path, now: float, unix_ns: int) -> None:
        if is_rtcp(datagram):
            compound = srtp.unprotect_rtcp(datagram)
            if compound is not None:
                self._take_reports(compound, path, now, len(datagram))
            return
        unprotected = srtp.unprotect(datagram)
        if unprotected is not None:
            packet, is_newest = unprotected
            self._take_packet(packet, is_newest, path, now, unix_ns, len(datagram))

    def _take_reports(self, compound: bytes, path: Path, now: float, size: int) -> None:
        self._budget.media.spend(1 + len(compound) // REPORT_BYTES)
        self._ice.received(path, False, now, size)
        self._ice.follow_relay(path)
        if self._ice.limited:
            self._ice.prove(path)
        try:
            read = rtcp.unpack_compound(compound)
        except rtcp.RtcpError:
            self._receiver.count_malformed()
            return
        self._receiver.receive_rtcp(read, now)
        self._sender.receive_rtcp(read, now + self._unix_offset)

    def _take_packet(self, packet: bytes, newest: bool, path: Path, now: float, unix_ns: int, size: int) -> None:
        self._budget.media.spend(1)
        before = self._ice.path
        self._ice.received(path, newest, now, size)
        if before is not None and self._ice.path == path and path.relay != before.relay and not self._ice.limited:
            self._sender.repeat_last()
        if self._receiver.receive(packet, now, unix_ns):
            self._upper.packet_taken(now)

    def _receive_records(self, layer: DtlsRecords, datagram: bytes, path: Path, now: float) -> None:
        before = layer.state.read_highest
        records = layer.open(datagram)
        self._budget.records.spend(len(records))
        for record in records:
            self._ice.received(path, layer.state.read_highest > before, now, len(datagram))
            if record.kind != HANDSHAKE:
                self.setup.received_sealed()
            if record.kind == APPLICATION_DATA:
                self._upper.receive_data(record.payload, now)
            elif record.kind == ALERT:
                cause = cause_of_end(record.payload)
                if cause is not None:
                    self._upper.closed_by_client(cause, now)
                    return
            elif record.kind == HANDSHAKE and self._final_flights.take(1, now):
                self.setup.repeat_final_flight()  # the client repeats its Finished: it has not received ours

    # ---- the handshake ---------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The client's first check has come: make the handshake. `start` follows."""
        self.setup.begin(now)

    def start(self, now: float) -> None:
        """Send the first flight, where it is ours."""
        if self.setup.client:
            self._take_turn(self.setup.start, now)

    def given_up(self, now: float) -> str | None:
        """Why the client has given up the handshake, if it has."""
        return self._alerts.given_up(now) if self.setup.running else None

    def _step_on(self, datagram: bytes, path: Path, now: float) -> None:
        """Handle a datagram whose turn has come; the handshake may have finished meanwhile."""
        if self.setup.running:
            self._handshake_path = path
            records = self._alerts.without_alerts(datagram, now)
            datagram = b""
            if records:
                self.setup.receive(records, now)
                datagram = b"".join(self.setup.take_early())
        if self._records is not None and datagram:
            self._receive_records(self._records, datagram, path, now)

    def _may_send_media(self, keys: SrtpState, now: float) -> None:
        """Our Finished is out: speech follows it at once (RFC 7918). Nothing is accepted before the client's Finished.

        The client has signed our random number. It, or one that it gave our ClientHello to, is where that went.
        """
        if self._handshake_path is not None:
            self._ice.prove(self._handshake_path)
        if self._ice.limited:
            return  # what such an address may get is for the handshake
        self._speech_srtp = Srtp(keys, self._state.rtp.ssrc)
        self._sender.connect(self._speech_srtp, self.send)
        self._upper.may_speak(now)

    def _shook_hands(self, keys: Keys, now: float) -> None:
        self._state.srtp, self._state.dtls = keys
        if self._handshake_path is not None:
            self._ice.shook_hands(self._handshake_path, now)
        self.connect()
        self._upper.shook_hands(now)

    def connect(self) -> None:
        """Use the keys of the session's state: of our handshake, or of that in another process."""
        assert self._state.srtp is not None
        assert self._state.dtls is not None
        self._records = DtlsRecords(self._state.dtls)
        self.srtp = self._speech_srtp or Srtp(self._state.srtp, self._state.rtp.ssrc)
        self._sender.connect(self.srtp, self.send)

    # ---- to the client ---------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send a datagram by the path in use, as far as it may be sent there."""
        ice = self._ice
        if ice.path is not None and (not ice.limited or ice.may_send(len(data))):
            self._output.datagram(ice.path, data)

    def send_data(self, payload: bytes) -> None:
        """Send one SCTP packet."""
        self._seal(APPLICATION_DATA, payload)

    def reserve(self, records_limit: int) -> None:
        """Use no record number from this one on."""
        self._records_limit = records_limit

    def say_closed(self) -> None:
        """Tell the client that the call has ended."""
        self._seal(ALERT, CLOSE_NOTIFY)

    def close(self) -> None:
        """Free handshake and keys."""
        self.setup.close()
        self.srtp = self._speech_srtp = self._records = None

    def _seal(self, kind: int, payload: bytes) -> None:
        if self._records is not None and self._records.state.write_sequence < self._records_limit:
            self.send(self._records.seal(kind, payload))
