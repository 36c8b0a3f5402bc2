"""A WebRTC client in one object, for scripts and loads: one UDP socket, Opus both ways, a data channel.

It is made of the parts that the transceiver is made of (`antiphon.rtc`: handshake, records, SRTP, Opus, jitter
buffer), so it shares their mistakes: browsers and stock aiortc test what others make of the stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from antiphon.cli.call.call_client import Fate, Placed
from antiphon.cli.call.call_http import CallHttp
from antiphon.cli.call.ice_check import answer_to, is_authentic_success, pack_binding_request
from antiphon.cli.call.relay_socket import open_relay_socket
from antiphon.cli.call.sdp import PAYLOAD_TYPE, Answer, make_offer
from antiphon.cli.call.webrtc_audio import ClientReceiver, ClientSender, OutgoingStream
from antiphon.cli.errors import CallError
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import Keys
from antiphon.rtc.dtls.record_layer import ALERT, APPLICATION_DATA, CLOSE_NOTIFY, HANDSHAKE, DtlsRecords
from antiphon.rtc.dtls.setup import UNASKED, DtlsSetup
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.sctp.data_channels import ChannelError, DataChannels
from antiphon.rtc.sctp.inbound import MAX_MESSAGE
from antiphon.runtime import tasks
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame

log = logging.getLogger(__name__)

CHECK_INTERVAL: Final = 2.5
ASK_INTERVAL: Final = 1.0
"""Seconds between two requests to the server for the call's status, while there is no connection."""
FIRST_CHECKS: Final = 0.05
"""Seconds between checks until the first answer."""
PREPARED_ANSWERS: Final = 0.5
"""Seconds for the answer to a check of a prepared call; then an ordinary call is placed."""
MAX_CATCH_UP: Final = 0.1
"""Seconds of frames that are sent late, all at once; frames that are later are left out, as the transceiver does."""
REPORT_EVERY: Final = 50
"""Frames between two RTCP reports."""
RATE: Final = 24000
"""Hz of the audio both ways."""
CHANNEL: Final = "oai-events"


class Peer:
    """One call from the client's side.

    Owner: the command or test that makes it, on one event loop, from `connect` to `close`; only that loop may call it.
    `on_audio` gets every decoded frame of the remote side (24 kHz), `on_message` every text message of the
    `oai-events` channel. Speech to send is queued with `speak`; silence is sent when nothing is queued.
    """

    def __init__(
        self,
        on_audio: Callable[[AudioFrame], None],
        on_message: Callable[[str], None],
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_sent` is called when a frame of queued speech leaves."""
        self.setup_ms = 0.0
        """From `connect` to the finished DTLS handshake."""
        self.answer_ms = self.checked_ms = 0.0
        """From `connect` to the server's answer, and to the first check that was answered; 0 before."""
        self.used_prepared = False
        """The call is the one that `prepare` has prepared."""
        self.connected = asyncio.Event()
        self.channel_open = asyncio.Event()
        self.closed = asyncio.Event()
        self.failure: str | None = None
        self.lost_to_server: int | None = None
        self.region, self.ingress = "", ""
        """Where the call is served and where it enters, as `Placed` has them."""
        self.receiver = ClientReceiver(PAYLOAD_TYPE, RATE, on_audio)
        self._on_message, self._on_sent = on_message, on_sent
        self._certificate = Certificate()
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(12)
        self._rtp = OutgoingStream(secrets.randbits(31) + 1, PAYLOAD_TYPE, secrets.randbits(15), secrets.randbits(32))
        self._answer: Answer
        self._http = CallHttp()
        self._relay: Address | None = None
        self._socket: socket.socket | None = None
        self._setup: DtlsSetup | None = None
        self._records: DtlsRecords | None = None
        self._srtp: Srtp | None = None
        self._data: DataChannels | None = None
        self._sender: ClientSender | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._loop = asyncio.get_running_loop()
        self._checked = asyncio.Event()
        self._speech: list[bytes] = []
        self._started = 0.0

    @property
    def location(self) -> str:
        """The call's URL; empty before `connect`."""
        return self._http.placed.location if self._http.placed is not None else ""

    @property
    def session_id(self) -> str:
        """The session's name in the stack; empty before `connect`."""
        return self.location.rpartition("/")[2]

    @property
    def handshaking(self) -> bool:
        """The DTLS handshake has begun and has not ended; False before the answer is there."""
        return self._setup is not None and self._setup.running

    def _offer(self) -> str:
        return make_offer(self._ufrag, self._password, self._certificate.fingerprint, self._rtp.ssrc)

    async def connect(
        self,
        url: str,
        agent: str | None = None,
        key: str | None = None,
        relay: Address | None = None,
        timeout: float = 10,
        region: str | None = None,
        copy: bool | None = None,
    ) -> None:
        """Place the call; CallError says what failed: HTTP, UDP through the relay, or the handshake.

        `relay` replaces the addresses that the answer offers. `region`: where the client says that it is.
        `copy`: it asks for a copy in a second region, or for none. After `prepare`: of the call that is placed where
        the prepared one is not answered.
        """
        self._started = self._loop.time()
        prepared = self._http.use_prepared()
        if prepared is None or not await self._is_answered(prepared, relay):
            await self._http.place(url, self._offer(), agent, key, timeout, region, copy)
            assert self._http.placed is not None
            self._begin(self._http.placed, relay)
        ended = asyncio.create_task(self._ended_early())
        self._tasks.append(ended)
        connected = asyncio.create_task(self.connected.wait())
        try:
            await asyncio.wait({connected, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
        if not self.connected.is_set() or self.failure:
            status = ended.result() if ended.done() else await self.fate()
            reason = f"no answer by UDP from the relay at {self._relay}: is the port open and published?"
            if self._checked.is_set():
                reason = "the DTLS handshake did not finish"
            raise CallError(status.message if status and status.over else self.failure or reason)
        ended.cancel()

    async def prepare(
        self,
        url: str,
        agent: str | None = None,
        key: str | None = None,
        timeout: float = 10,
        region: str | None = None,
        copy: bool | None = None,
    ) -> None:
        """Have the offer answered: `connect` then needs no HTTP, if it comes within a minute. CallError as there."""
        await self._http.place(url, self._offer(), agent, key, timeout, region, copy, prepares=True)

    def _begin(self, placed: Placed, relay: Address | None) -> None:
        """Send checks to the relay of this answer."""
        self.answer_ms = self._elapsed_ms()
        self.region, self.ingress = placed.region, placed.ingress
        self._answer = Answer(placed.sdp)
        if relay is not None:
            self._answer.candidates = [relay]
        self._make_setup()
        self._socket, self._relay = open_relay_socket(self._answer.candidates)
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._tasks = [asyncio.create_task(self._check_forever()), asyncio.create_task(self._poll_forever())]

    async def _is_answered(self, prepared: Placed, relay: Address | None) -> bool:
        """Whether the server answers a check of the prepared call in time. If not, nothing of it is left."""
        self._begin(prepared, relay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARED_ANSWERS):
                await self._checked.wait()
        if self._checked.is_set():
            self.used_prepared = True
            return True
        await tasks.end(*self._tasks)
        self._close_socket()
        self._http.give_up()
        return False

    async def fate(self) -> Fate | None:
        """The call's status by the server; None if it does not know the call."""
        return await self._http.fate()

    async def _ended_early(self) -> Fate:
        """Returns when the server reports the call as ended: an agent may hang up before we are connected."""
        while True:
            await asyncio.sleep(ASK_INTERVAL)
            status = await self.fate()
            if status and status.over:
                return status

    def _elapsed_ms(self) -> float:
        return (self._loop.time() - self._started) * 1000

    def _make_setup(self) -> None:
        """The answer is there; the handshake begins with the first authentic answer to a check."""
        self._setup = DtlsSetup(
            self._certificate,
            self._answer.fingerprints,
            self._answer.passive,
            self._send,
            self._shook_hands,
            self._handshake_failed,
            unasked=UNASKED,
        )

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
            await asyncio.sleep(CHECK_INTERVAL if self._checked.is_set() else FIRST_CHECKS)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            assert self._setup is not None
            self._setup.poll(self._loop.time())
            if self._data is not None:
                self._data.poll(self._loop.time())

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
        assert self._setup is not None
        first = datagram[0]
        if first < 4:
            response = answer_to(datagram, self._ufrag, self._password, self._answer.candidates[0])
            if response is not None:
                self._send(response)
            elif is_authentic_success(datagram, self._answer.password) and not self._checked.is_set():
                self._note_checked()
                self._setup.begin(now)
                if self._answer.passive:
                    self._setup.start(now)
        elif 19 < first < 64:
            if self._records is not None:
                self._receive_records(datagram, now)
            elif self._checked.is_set() or not self._answer.passive:
                # The server starts at our first check: its ClientHello may overtake the check's answer.
                if not self._setup.running:
                    self._note_checked()
                    self._setup.begin(now)
                self._setup.receive(datagram, now)
                for record in self._setup.take_early():
                    self._receive_records(record, now)
        elif 127 < first < 192 and self._srtp is not None:
            if is_rtcp(datagram):
                self._receive_rtcp(datagram, now)
            else:
                unprotected = self._srtp.unprotect(datagram)
                if unprotected is not None:
                    self.receiver.receive(unprotected[0], now, time.time_ns())

    def _note_checked(self) -> None:
        self._checked.set()
        self.checked_ms = self._elapsed_ms()

    def _receive_rtcp(self, datagram: bytes, now: float) -> None:
        assert self._srtp is not None
        packet = self._srtp.unprotect_rtcp(datagram)
        if packet is None:
            return
        try:
            compound = rtcp.unpack_compound(packet)
        except rtcp.RtcpError:
            return
        self.receiver.receive_rtcp(compound, now)
        if self._sender is not None:
            self._sender.receive_rtcp(compound)
            self.lost_to_server = self._sender.remote_packets_lost

    def _receive_records(self, datagram: bytes, now: float) -> None:
        assert self._setup is not None
        assert self._records is not None
        for record in self._records.open(datagram):
            if record.kind != HANDSHAKE:
                self._setup.received_sealed()
            if record.kind == APPLICATION_DATA and self._data is not None:
                self._data.receive(record.payload, now)
            elif record.kind == ALERT and record.payload[:2] == CLOSE_NOTIFY:
                self.closed.set()
            elif record.kind == HANDSHAKE:  # the server repeats its Finished: it has not received ours
                self._setup.repeat_final_flight()

    def _handshake_failed(self, text: str, now: float) -> None:
        self.failure = text.replace("client", "server")
        self.connected.set()

    def _shook_hands(self, keys: Keys, now: float) -> None:
        self._srtp, self._records = Srtp(keys.srtp, self._rtp.ssrc), DtlsRecords(keys.dtls)
        self._sender = ClientSender(self._rtp, RATE, self._srtp, self._send)
        self._data = DataChannels(keys.dtls.client, self._send_record, lambda _: None, self._message)
        self._data.start(5000, MAX_MESSAGE, now)
        self._data.create(CHANNEL, self.channel_open.set, now)
        self.setup_ms = self._elapsed_ms()
        self._tasks.append(asyncio.create_task(self._talk_forever(self._sender)))
        self.connected.set()

    def _send_record(self, data: bytes) -> None:
        if self._records is not None:
            self._send(self._records.seal(APPLICATION_DATA, data))

    def _message(self, label: str, payload: str | bytes) -> None:
        if isinstance(payload, str):
            self._on_message(payload)

    def speak(self, pcm: bytes) -> None:
        """Queue speech, s16le mono at 24 kHz; the last part of a frame is filled with silence."""
        size = RATE // 50 * 2
        self._speech += [pcm[at : at + size].ljust(size, b"\0") for at in range(0, len(pcm), size)]

    @property
    def speaking(self) -> bool:
        """There is queued speech that is not sent yet."""
        return bool(self._speech)

    def send_text(self, text: str) -> None:
        """One message on the data channel."""
        if self._data is not None:
            with contextlib.suppress(ChannelError):  # the server has ended the call
                self._data.send(CHANNEL, text, self._loop.time())

    async def _talk_forever(self, sender: ClientSender) -> None:
        """A microphone: a frame every 20 ms, whatever is on it."""
        due = self._loop.time()
        silence = bytes(RATE // 50 * 2)
        frames = 0
        while True:
            pcm = silence
            if self._speech:
                pcm = self._speech.pop(0)
                self._on_sent()
            now = self._loop.time()
            sender.speak(pcm, now)
            self.receiver.visit(now)
            frames += 1
            if frames % REPORT_EVERY == 0:
                sender.report(self.receiver.reception.block(now), now, time.time())
            due += 0.02
            if self._loop.time() - due > MAX_CATCH_UP:
                due = self._loop.time()  # this process was stopped: a microphone would have lost that time's frames
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    async def close(self) -> None:
        """Hang up and free everything."""
        await tasks.end(*self._tasks)
        if self._data is not None:
            self._data.close(self._loop.time())
        if self._records is not None:
            self._send(self._records.seal(ALERT, CLOSE_NOTIFY))
        self._close_socket()
        await self._http.close(tell=True)

    async def vanish(self) -> None:
        """Free everything and tell the server nothing, like a client that loses power or its network."""
        await tasks.end(*self._tasks)
        self._close_socket()
        await self._http.close(tell=False)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
