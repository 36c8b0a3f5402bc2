"""Clients of a transceiver without HTTP and without a socket of their own: the test carries their datagrams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.cli.call.sdp import Answer
from antiphon.cli.call.webrtc_audio import OutgoingStream
from antiphon.cli.call.webrtc_client import Peer
from antiphon.rtc import stun
from antiphon.rtc.dtls.record_layer import ALERT, CLOSE_NOTIFY
from antiphon.rtc.sctp.data_channels import DataChannels
from antiphon.runtime import tasks
from antiphon.schemas.audio import AudioFrame

CANDIDATE = "a=candidate:1 1 udp 2130706000 127.0.0.1 9 typ host\r\n"


class CarriedPeer(Peer):
    """The client of `antiphon call`; `transmit` gets what it sends, `receive` takes what comes for it."""

    def __init__(self, transmit: Callable[[bytes], None]) -> None:
        self.frames: list[AudioFrame] = []
        """What was heard."""
        self.texts: list[str] = []
        """What came on the data channel."""
        self.transmit = transmit
        self.checked: list[bytes] = []
        """The server's checks."""
        self.answers_checks = True
        super().__init__(self.frames.append, self.texts.append)

    def offer(self) -> str:
        return self._offer()

    def begin(self, answer: str) -> None:
        """Start with checks, as after the HTTP answer."""
        self._answer = Answer(answer + CANDIDATE)
        self._started = self._loop.time()
        self._make_setup()
        self._tasks = [asyncio.create_task(self._check_forever()), asyncio.create_task(self._poll_forever())]

    def receive(self, datagram: bytes) -> None:
        if stun.message_type(datagram) == stun.BINDING_REQUEST:
            self.checked.append(datagram)
            if not self.answers_checks:
                return
        self._receive(datagram, self._loop.time())

    def _send(self, data: bytes) -> None:
        self.transmit(data)

    # ---- what tests change in it, and what they send in its name

    @property
    def answer(self) -> Answer:
        """What its checks go by: credentials of an ICE restart are set here."""
        return self._answer

    @property
    def rtp(self) -> OutgoingStream:
        """The numbers of its next packet."""
        return self._rtp

    def check(self) -> None:
        """One more connectivity check, now: as a client makes it whose path has changed."""
        self._send(pack_binding_request(f"{self._answer.ufrag}:x", self._answer.password, use_candidate=True))

    def unplug_microphone(self) -> None:
        """From now on only `send_rtp` sends audio."""
        self._tasks[-1].cancel()

    def protect(self, packet: bytes) -> bytes:
        """One RTP packet as SRTP."""
        assert self._srtp is not None
        return self._srtp.protect(packet)

    def send_rtp(self, packet: bytes) -> None:
        self._send(self.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        assert self._srtp is not None
        self._send(self._srtp.protect_rtcp(packet))

    # ---- what tests see of it

    @property
    def loudest(self) -> int:
        """The loudest sample heard in the last second."""
        samples = (memoryview(frame.pcm).cast("h") for frame in self.frames[-50:])
        return max((max(map(abs, each)) for each in samples), default=0)

    @property
    def acknowledged(self) -> bool:
        """Nothing that was sent on the data channel waits for the other side."""
        return self._data is not None and not self._data.association.unacknowledged

    @property
    def channels(self) -> DataChannels:
        """Its data channels, once it is connected."""
        assert self._data is not None
        return self._data

    async def vanish(self) -> None:
        """Stop without a word."""
        self.answers_checks = False
        await tasks.end(*self._tasks)
        if self._data is not None:
            transmit, self.transmit = self.transmit, lambda data: None
            self._data.close(self._loop.time())
            self.transmit = transmit

    async def close(self) -> None:
        """Stop with close_notify."""
        await self.vanish()
        if self._records is not None:
            self._send(self._records.seal(ALERT, CLOSE_NOTIFY))
