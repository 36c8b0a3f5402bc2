"""Our association against aiortc's, which shares no code with it: packets in memory, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from support.net.emulator import Conditions, Link, virtual_loop
from support.peers.sctp_end import End

pytestmark = pytest.mark.virtual

CLEAN = Conditions()
LOSSY = Conditions(loss=0.05, jitter=0.03)
DOUBLED = Conditions(jitter=0.06, duplicate=0.3)


class DtlsTransport:
    """The part of aiortc's that its SCTP uses."""

    state = "connected"

    def __init__(self, role: str, send: Callable[[bytes], None]) -> None:
        self._role = role
        self._send = send

    async def _send_data(self, data: bytes) -> None:
        self._send(data)

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass


class Interop:
    """Ours as `ours`, aiortc's as `theirs`."""

    def __init__(self, conditions: Conditions, we_are_client: bool) -> None:
        self.loop = virtual_loop()
        self.links = Link(conditions, 1), Link(conditions, 2)
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.received: list[tuple[str, str | bytes]] = []
        self.channels: dict[str, RTCDataChannel] = {}
        self.received_by_them: list[tuple[str, str | bytes]] = []
        self.ours = End(
            we_are_client,
            self._to_them,
            self.opened.append,
            lambda label, payload: self.received.append((label, payload)),
            on_close=self.closed.append,
        )
        transport = DtlsTransport("server" if we_are_client else "client", self._to_us)
        self.theirs = RTCSctpTransport(transport, 5000)  # type: ignore[arg-type]
        self.theirs.on("datachannel", self.listen)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.ours.start()
        await self.theirs.start(RTCSctpCapabilities(65536), 5000)

    def listen(self, channel: RTCDataChannel) -> RTCDataChannel:
        self.channels[channel.label] = channel
        channel.on("message", lambda message: self.received_by_them.append((channel.label, message)))
        return channel

    def create(self, label: str, **parameters: int | bool) -> RTCDataChannel:
        return self.listen(RTCDataChannel(self.theirs, RTCDataChannelParameters(label=label, **parameters)))  # type: ignore[arg-type]

    def _to_us(self, data: bytes) -> None:
        for at in self.links[0].arrivals(self.loop.time()):
            self.loop.call_at(at, self.ours.receive, data)

    def _to_them(self, data: bytes) -> None:
        for at in self.links[1].arrivals(self.loop.time()):
            self.loop.call_at(at, self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        task = asyncio.ensure_future(self.theirs._handle_data(data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(200):
            while not condition():  # noqa: ASYNC110 - conditions are looked at, as a test would
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.ours.close()
        await self.theirs.stop()
        await asyncio.sleep(1)


@pytest.mark.parametrize("conditions", [CLEAN, LOSSY, DOUBLED], ids=["clean", "lossy", "reordered and doubled"])
@pytest.mark.parametrize("we_are_client", [True, False], ids=["client", "server"])
async def test_messages_of_any_size_pass_both_ways(conditions: Conditions, we_are_client: bool) -> None:
    call = Interop(conditions, we_are_client)
    await call.start()
    theirs = call.create("oai-events")
    await call.until(lambda: theirs.readyState == "open" and call.opened == ["oai-events"])
    sent: list[str | bytes] = [random.Random(size).randbytes(size) for size in (1, 1100, 1101, 16_384, 60_000)]
    sent += ["text", "", b""]
    for message in sent:
        assert call.ours.send("oai-events", message)
        theirs.send(message)
    await call.until(lambda: len(call.received) == len(call.received_by_them) == len(sent))
    assert call.received == call.received_by_them == [("oai-events", message) for message in sent]
    await call.stop()


@pytest.mark.parametrize("conditions", [CLEAN, LOSSY], ids=["clean", "lossy"])
async def test_channels_open_and_close_from_both_sides(conditions: Conditions) -> None:
    call = Interop(conditions, we_are_client=True)
    await call.start()
    await call.ours.open("ours")
    theirs = call.create("theirs")
    await call.until(lambda: theirs.readyState == "open" and "theirs" in call.opened)
    call.ours.close_channel("theirs")
    call.channels["ours"].close()
    await call.until(lambda: sorted(call.closed) == ["ours", "theirs"])
    await call.until(lambda: theirs.readyState == call.channels["ours"].readyState == "closed")
    await call.until(lambda: call.ours.channels.channels == [])
    again = call.create("theirs")
    await call.until(lambda: again.readyState == "open")
    assert call.ours.send("theirs", "again")
    await call.until(lambda: ("theirs", "again") in call.received_by_them)
    await call.stop()


async def test_sixteen_closed_channels_leave_room_for_the_17th() -> None:
    call = Interop(CLEAN, we_are_client=True)
    await call.start()
    for number in range(16):
        channel = call.create(f"channel {number}")
        await call.until(lambda: channel.readyState == "open")  # noqa: B023
    for number in range(16):
        call.channels[f"channel {number}"].close()
    await call.until(lambda: len(call.closed) == 16)
    channel = call.create("oai-events")
    await call.until(lambda: channel.readyState == "open")
    channel.send("here")
    await call.until(lambda: call.received == [("oai-events", "here")])
    await call.stop()


@pytest.mark.parametrize("limit", [{"maxRetransmits": 0}, {"maxPacketLifeTime": 200}], ids=str)
async def test_unreliable_channels_lose_whole_messages_only(limit: dict[str, int]) -> None:
    call = Interop(Conditions(loss=0.1), we_are_client=False)
    await call.start()
    theirs = call.create("loose", ordered=False, **limit)
    reliable = call.create("oai-events")
    await call.until(lambda: theirs.readyState == reliable.readyState == "open")
    sent = [bytes((number,)) * 3000 for number in range(60)]
    for message in sent:
        assert call.ours.send("loose", message)
        theirs.send(message)
        await asyncio.sleep(0.1)
    call.ours.send("oai-events", "end")
    reliable.send("end")
    await call.until(lambda: all(("oai-events", "end") in each for each in (call.received, call.received_by_them)))
    for received in (call.received, call.received_by_them):
        loose = [payload for label, payload in received if label == "loose"]
        assert set(loose) <= set(sent)
        assert 20 < len(loose) == len(set(loose)) < 60
    await call.stop()


async def test_their_end_closes_our_channels() -> None:
    call = Interop(CLEAN, we_are_client=True)
    await call.start()
    await call.ours.open("oai-events")
    await call.theirs.stop()
    await call.until(lambda: call.closed == ["oai-events"])
    await call.stop()
