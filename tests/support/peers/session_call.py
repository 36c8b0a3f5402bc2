"""A session of ours, its client and an impaired network between them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from support.net.emulator import Conditions, Link, virtual_loop
from support.peers.transceiver_peer import CarriedPeer

from antiphon.rtc import sdp
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.sctp.inbound import MAX_MESSAGE
from antiphon.rtc.sdp.audio import sends
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.route_token import RouteKeyring, ice_password
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import RtpState, RtviState, SessionState
from antiphon.transceiver.timing.timing_wheel import TimingWheel

KEYRING = RouteKeyring.from_text("A:00112233445566778899aabbccddeeff")
PASSWORD_KEY = bytes(range(16))
HEADER = tunnel.pack_header(Address("192.0.2.1", 5000))
RELAY = ("127.0.0.1", 4000)
CERTIFICATE = Certificate()
GOOD = Conditions()
BAD = Conditions(loss=0.05, jitter=0.030)


def unix_ns(at: float) -> int:
    """The wall clock at a moment of the loop's."""
    return 1_700_000_000_000_000_000 + int(at * 1e9)


class Call:
    """A session of ours, the client, and the network between them."""

    def __init__(
        self,
        conditions: Conditions = GOOD,
        seed: int = 1,
        passive: bool = False,
        extra: Callable[[str], str] = str,
        header: bytes = HEADER,
        rtvi: RtviState | None = None,
        tone: float = 0.0,
    ) -> None:
        """`rtvi`: the client speaks RTVI. `tone`: seconds between two consent tones."""
        self.header = header
        self.heard: list[AudioFrame] = []
        self.events: list[messages.Message] = []
        self.data: list[messages.DataMessage] = []
        self.sent: list[bytes] = []
        self.arrivals_ns: list[int] = []
        """Wall clock at which each datagram of the client's reached the session."""
        self.loop = virtual_loop()
        self.uplink, self.downlink = Link(conditions, seed), Link(conditions, seed + 1000)
        self.wheel = TimingWheel(self.loop.time())
        self.registry = Demux()
        self.drop_up: Callable[[bytes], bool] = lambda data: False
        self.drop_down: Callable[[bytes], bool] = lambda data: False
        self.moved_to: list[str] = []
        self.first_packets: list[Path] = []
        self.turns: list[Told] = []
        self.peer = CarriedPeer(self._from_client)
        text = self.peer.offer()
        if passive:  # the client insists on being the DTLS client
            text = text.replace("a=setup:actpass", "a=setup:active")
        offer = sdp.read_offer(extra(text))
        ufrag, _ = KEYRING.mint(0, 0, 0, 1.8e9)
        state = SessionState(
            session_id="rtc_test",
            agent="a",
            ufrags=[ufrag],
            remote_fingerprints=list(offer.fingerprints),
            input_rate=16000,
            rtp=RtpState(7, offer.codec.payload_type, 100, 4294966000, codec=offer.codec.name),
            direction=offer.direction,
            listens=sends(offer.direction),
            data_port=offer.data_port,
            data_max_message=offer.data_max_message,
            telephone=offer.telephone,
            audio_level_id=offer.audio_level_id,
            remote_credentials={ufrag: (offer.ufrag, offer.password)},
            rtvi=rtvi,
            consent_tone=tone,
        )
        self.session = Session(
            state,
            CERTIFICATE,
            PASSWORD_KEY,
            offer.client,
            self,
            self.loop.time(),
            self.wheel.add,
            self.wheel.remove,
        )
        self.registry.add(self.session)
        ours = sdp.Answer(
            ufrag, ice_password(PASSWORD_KEY, ufrag), CERTIFICATE.fingerprint, 7, 1, max_message=MAX_MESSAGE
        )
        self.answer = sdp.write_answer(offer, ours)
        self._clock = asyncio.create_task(self._tick())
        self._in_socket: list[bytes] | None = None
        """What arrives while the process stands still; None while it runs."""

    # ---- the outlet

    def datagram(self, path: Path, data: bytes) -> None:
        assert path == Path(self.header, RELAY)
        self.sent.append(data)
        if not self.drop_down(data):
            for at in self.downlink.arrivals(self.loop.time()):
                self.loop.call_at(at, self.peer.receive, data)

    def audio(self, frame: AudioFrame) -> None:
        self.heard.append(frame)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def message(self, message: messages.DataMessage) -> None:
        self.data.append(message)

    def milestone(self, name: str, now: float) -> None:
        pass

    def first_packet(self, path: Path, now: float) -> None:
        self.first_packets.append(path)

    def turn(self, told: Told) -> None:
        self.turns.append(told)

    def move(self, agent: str) -> None:
        self.moved_to.append(agent)

    # ---- the network and the clock

    def _from_client(self, data: bytes) -> None:
        if not self.drop_up(data):
            for at in self.uplink.arrivals(self.loop.time()):
                self.loop.call_at(at, self._to_session, data)

    def _to_session(self, data: bytes) -> None:
        if self._in_socket is not None:
            self._in_socket.append(data)
            return
        now = self.loop.time()
        self.arrivals_ns.append(unix_ns(now))
        unrouted = self.registry.receive(self.header + data, RELAY, now, unix_ns(now))
        if unrouted is not None:  # as `TunnelReceiver` does where no other transceiver has the session
            self.registry.count_lost(unrouted)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            now = self.loop.time()
            self.wheel.run(now, self.loop.time)
            self.session.poll(now)

    # ---- what tests do

    def stop_process(self) -> None:
        """The session's process stands still: no timer runs, and what arrives waits in its socket."""
        self._clock.cancel()
        self._in_socket = []

    def continue_process(self) -> None:
        waiting, self._in_socket = self._in_socket or [], None
        for datagram in waiting:
            self._to_session(datagram)
        self._clock = asyncio.create_task(self._tick())

    async def connect(self, channel: bool = True) -> None:
        self.peer.begin(self.answer)
        async with asyncio.timeout(20):
            await self.peer.connected.wait()
            await self.until(lambda: bool(self.event_of(messages.Connected)))
        assert self.peer.failure is None
        if channel:
            async with asyncio.timeout(30):
                await self.peer.channel_open.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - conditions are looked at, as a test would
            await asyncio.sleep(0.005)

    def event_of(self, kind: type[messages.Message]) -> list[messages.Message]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> str | None:
        found = self.event_of(messages.Ended)
        assert len(found) <= 1
        assert not found or self.events[-1] is found[0], "something came after the end"
        return found[0].reason if found and isinstance(found[0], messages.Ended) else None

    async def stop(self) -> None:
        await self.peer.vanish()
        self.session.end("hang_up", self.loop.time())
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)


class MovingCall(Call):
    """A call whose client changes its address, by `header`: what is sent to another one is lost, and noted."""

    def __init__(self, seed: int = 1, header: bytes = HEADER) -> None:
        self.sent_to: dict[bytes, list[bytes]] = {}
        super().__init__(seed=seed, header=header)

    def datagram(self, path: Path, data: bytes) -> None:
        self.sent_to.setdefault(path.header, []).append(data)
        if path.header == self.header and data:
            super().datagram(Path(self.header, RELAY), data)

    def arrives(self, header: bytes, data: bytes, relay: tuple[str, int] = RELAY) -> None:
        """Something comes from any address."""
        now = self.loop.time()
        unrouted = self.registry.receive(header + data, relay, now, unix_ns(now))
        if unrouted is not None:
            self.registry.count_lost(unrouted)


class StartCall(Protocol):
    """Makes a connected call; the fixture `start_call` ends it with the test."""

    async def __call__(
        self,
        conditions: Conditions = GOOD,
        seed: int = 1,
        passive: bool = False,
        extra: Callable[[str], str] = str,
        header: bytes = HEADER,
        channel: bool = True,
    ) -> Call: ...


def loudness(frames: list[AudioFrame]) -> list[int]:
    return [max(map(abs, memoryview(frame.pcm).cast("h"))) for frame in frames]
