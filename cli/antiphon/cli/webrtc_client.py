"""A WebRTC client in one object, for scripts and loads: one UDP socket, Opus both ways, a data channel.

It stands on the transceiver's own engines (handshake, records, SRTP, Opus, receive buffer), turned round:
here we ask, there it answers. So it shares their mistakes: what browsers and stock aiortc make of the
stack is tested with browsers and stock aiortc.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from antiphon.cli.call_client import Fate, fate, hang_up, place
from antiphon.cli.errors import CallError
from antiphon.cli.ice_check import is_authentic_success, pack_binding_request
from antiphon.cli.sdp import PAYLOAD_TYPE, Answer, make_offer
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import DtlsError, DtlsHandshake
from antiphon.rtc.dtls.record_layer import ALERT, APPLICATION_DATA, CLOSE_NOTIFY, HANDSHAKE, DtlsRecords
from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.sctp.data_channels import DataChannels
from antiphon.runtime import tasks
from antiphon.schemas import messages
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.state import RtpState, SessionState

log = logging.getLogger(__name__)

CHECK_INTERVAL: Final = 2.5
ASK_INTERVAL: Final = 1.0
"""Seconds between two questions to the server whether the call is over already, while there is no connection."""
FIRST_CHECKS: Final = 0.05
"""Seconds between checks until the first answer."""
MAX_CATCH_UP: Final = 0.1
"""Seconds of frames that are sent late, all at once; what is later is left out, as the transceiver does."""
RATE: Final = 24000
"""Hz of the audio both ways."""
CHANNEL: Final = "oai-events"


class Peer:
    """One call from the client's side.

    `on_audio` gets every decoded frame of the remote side (24 kHz), `on_message` every text message of the
    `oai-events` channel. Speech to send is queued with `speak`; silence is sent when nothing is queued.
    """

    def __init__(self, on_audio: Callable[[AudioFrame], None], on_message: Callable[[str], None]) -> None:
        self.setup_ms = 0.0
        """From `connect` to the finished DTLS handshake."""
        self.connected = asyncio.Event()
        self.channel_open = asyncio.Event()
        self.closed = asyncio.Event()
        self.failure: str | None = None
        self.on_sent: Callable[[], None] | None = None
        """Called when a frame of queued speech leaves."""
        self.lost_to_server: int | None = None
        self.media_in: AudioReceiver
        self._on_audio, self._on_message = on_audio, on_message
        self._certificate = Certificate()
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(12)
        self._rtp = RtpState(secrets.randbits(31) + 1, PAYLOAD_TYPE, secrets.randbits(15), secrets.randbits(32))
        self._answer: Answer
        self._http: httpx.AsyncClient
        self._location = ""
        self._socket: socket.socket | None = None
        self._handshake: DtlsHandshake | None = None
        self._records: DtlsRecords | None = None
        self._final_flight: list[bytes] = []
        self._srtp: Srtp | None = None
        self._data: DataChannels | None = None
        self._media_out: AudioSender
        self._tasks: list[asyncio.Task[Any]] = []
        self._loop = asyncio.get_running_loop()
        self._checked = False
        self._speech: list[bytes] = []
        self._started = 0.0

    @property
    def session_id(self) -> str:
        """The session's name in the stack; empty before `connect`."""
        return self._location.rpartition("/")[2]

    # ---- the outlet of our own media engines -----------------------------------------------------------

    def audio(self, frame: AudioFrame) -> None:
        self._on_audio(frame)

    def event(self, event: messages.Message) -> None:
        pass

    def milestone(self, name: str, now: float) -> None:
        pass

    # ---- setting up ------------------------------------------------------------------------------------

    def _offer(self) -> str:
        return make_offer(self._ufrag, self._password, self._certificate.fingerprint, self._rtp.ssrc)

    async def connect(
        self,
        url: str,
        agent: str | None = None,
        key: str | None = None,
        relay: Address | None = None,
        timeout: float = 10,
    ) -> None:
        """Place the call; CallError says what failed: HTTP, UDP through the relay, or the handshake.

        `relay` replaces the addresses that the answer offers.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Proxies of the environment are for the web; a call is placed directly.
        self._http = httpx.AsyncClient(headers=headers, trust_env=False, timeout=timeout)
        self._started = self._loop.time()
        self._location, sdp = await place(self._http, url, self._offer(), agent)
        self._answer = Answer(sdp)
        if relay is not None:
            self._answer.candidates = [relay]
        self._build_engines()
        where = self._open_socket()
        self._tasks = [
            asyncio.create_task(self._check_forever()),
            asyncio.create_task(self._poll_forever()),
        ]
        ended = asyncio.create_task(self._ended_early())
        self._tasks.append(ended)
        connected = asyncio.create_task(self.connected.wait())
        try:
            await asyncio.wait({connected, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
        if not self.connected.is_set() or self.failure:
            told = ended.result() if ended.done() else await self.fate()
            reason = (
                "the DTLS handshake did not finish"
                if self._checked
                else f"no answer by UDP from the relay at {where}: is the port open and published?"
            )
            raise CallError(told.message if told and told.over else self.failure or reason)
        ended.cancel()

    async def fate(self) -> Fate | None:
        """What the server says of the call, if it knows it."""
        return await fate(self._http, self._location) if self._location else None

    async def _ended_early(self) -> Fate:
        """Done when the server says that the call is over: an agent may hang up before we are connected."""
        while True:
            await asyncio.sleep(ASK_INTERVAL)
            told = await self.fate()
            if told and told.over:
                return told

    def _build_engines(self) -> None:
        state = SessionState("call", "", [], self._answer.fingerprints, RATE, self._rtp)
        self.media_in = AudioReceiver(state, self)
        self._media_out = AudioSender(state, self)

    def _open_socket(self) -> Address:
        """Take the first relay that this machine has a route to: it may be without IPv6."""
        reasons = []
        for relay in self._answer.candidates:
            try:
                udp = socket.socket(socket.AF_INET6 if ":" in relay.host else socket.AF_INET, socket.SOCK_DGRAM)
            except OSError as error:
                reasons.append(f"{relay}: {error.strerror}")
                continue
            try:
                udp.setblocking(False)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                udp.connect(relay)
            except OSError as error:
                udp.close()
                reasons.append(f"{relay}: {error.strerror}")
                continue
            self._socket = udp
            self._loop.add_reader(udp.fileno(), self._readable)
            return relay
        raise CallError(f"there is no way from here to any relay of the answer ({'; '.join(reasons)})")

    def _send(self, data: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(data)
            except OSError as error:
                log.debug("send: %r", error)

    async def _check_forever(self) -> None:
        while True:
            self._send(
                pack_binding_request(f"{self._answer.ufrag}:{self._ufrag}", self._answer.password, use_candidate=True)
            )
            await asyncio.sleep(CHECK_INTERVAL if self._checked else FIRST_CHECKS)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            if self._handshake is not None:
                self._drive(lambda handshake: handshake.poll(self._loop.time()))

    # ---- from the network --------------------------------------------------------------------------------

    def _readable(self) -> None:
        for _ in range(64):
            if self._socket is None:
                return
            try:
                datagram = self._socket.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            if datagram:
                self._receive(datagram, self._loop.time())

    def _receive(self, datagram: bytes, now: float) -> None:
        first = datagram[0]
        if first < 4:
            if is_authentic_success(datagram, self._answer.password) and not self._checked:
                self._checked = True
                self._handshake = self._new_handshake(now)
                if self._answer.passive:
                    self._drive(lambda handshake: handshake.start(now))
        elif 19 < first < 64:
            if self._records is not None:
                self._receive_records(datagram)
            elif self._checked or not self._answer.passive:
                # The server starts at our first check: its ClientHello may overtake the check's answer.
                if self._handshake is None:
                    self._checked = True
                    self._handshake = self._new_handshake(now)
                self._drive(lambda handshake: handshake.receive(datagram, now))
        elif 127 < first < 192 and self._srtp is not None:
            if is_rtcp(datagram):
                compound = self._srtp.unprotect_rtcp(datagram)
                if compound is not None:
                    self.media_in.receive_rtcp(compound, now)
                    self._media_out.receive_rtcp(compound, time.time())
                    self.lost_to_server = self._media_out.remote_packets_lost
            else:
                packet = self._srtp.unprotect(datagram)
                if packet is not None:
                    self.media_in.receive(packet, now, time.time_ns())

    def _new_handshake(self, now: float) -> DtlsHandshake:
        return DtlsHandshake(self._certificate, self._answer.fingerprints, self._answer.passive, now)

    def _receive_records(self, datagram: bytes) -> None:
        assert self._records is not None
        for record in self._records.open(datagram):
            if record.kind == APPLICATION_DATA and self._data is not None:
                self._data.receive(record.payload)
            elif record.kind == ALERT and record.payload[:2] == CLOSE_NOTIFY:
                self.closed.set()
            elif record.kind == HANDSHAKE:  # the server's Finished once more: it has not seen ours
                for lost in self._final_flight:
                    self._send(lost)

    def _drive(self, step: Callable[[DtlsHandshake], None]) -> None:
        handshake = self._handshake
        assert handshake is not None
        try:
            step(handshake)
        except DtlsError as error:
            self.failure = str(error).replace("client", "server")
            self._handshake = None
            self.connected.set()
            return
        for datagram in handshake.outgoing():
            self._send(datagram)
        if handshake.keys is None:
            return
        self._handshake = None
        self._final_flight = handshake.final_flight
        srtp, dtls = handshake.keys
        self._srtp, self._records = Srtp(srtp, self._rtp.ssrc), DtlsRecords(dtls)
        self._media_out.connect(self._srtp, self._send)
        self._data = DataChannels(dtls.client, self._send_record, lambda _: None, self._message)
        self._data.start(5000, 65536)
        self._data.create(CHANNEL, self.channel_open.set)
        self.setup_ms = (self._loop.time() - self._started) * 1000
        self._tasks.append(asyncio.create_task(self._talk_forever()))
        self.connected.set()

    def _send_record(self, data: bytes) -> None:
        if self._records is not None:
            self._send(self._records.seal(APPLICATION_DATA, data))

    def _message(self, label: str, payload: str | bytes) -> None:
        if isinstance(payload, str):
            self._on_message(payload)

    # ---- talking -------------------------------------------------------------------------------------------

    def speak(self, pcm: bytes) -> None:
        """Queue speech, s16le mono at 24 kHz; the last part of a frame is filled with silence."""
        size = RATE // 50 * 2
        self._speech += [pcm[at : at + size].ljust(size, b"\0") for at in range(0, len(pcm), size)]

    @property
    def speaking(self) -> bool:
        """Queued speech is not sent yet."""
        return bool(self._speech)

    def send_text(self, text: str) -> None:
        """One message on the data channel."""
        if self._data is not None:
            self._data.send(CHANNEL, text)

    async def _talk_forever(self) -> None:
        """A microphone: a frame every 20 ms, whatever is on it."""
        due = self._loop.time()
        silence = bytes(RATE // 50 * 2)
        sequence = 0
        while True:
            pcm = silence
            if self._speech:
                pcm = self._speech.pop(0)
                if self.on_sent is not None:
                    self.on_sent()
            self._media_out.offer(AudioFrame(sequence, 0, 0, RATE, 0, 0, pcm))
            now = self._loop.time()
            self._media_out.visit(now)
            self.media_in.visit(now)
            sequence += 1
            if sequence % 50 == 0:
                self._media_out.report(self.media_in.reception.block(now), now)
            due += 0.02
            if self._loop.time() - due > MAX_CATCH_UP:
                due = self._loop.time()  # we stood still: a microphone's frames of that time are gone
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    async def close(self) -> None:
        """Hang up and let go of everything."""
        await tasks.end(*self._tasks)
        if self._data is not None:
            self._data.close()
        if self._records is not None:
            self._send(self._records.seal(ALERT, CLOSE_NOTIFY))
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._location:
            await hang_up(self._http, self._location)
        await self._http.aclose()
