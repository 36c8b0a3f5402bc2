"""Real transceivers behind a relay of their cluster, the test: it forwards by the headers and knows no call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE, Datagrams
from support.processes.several_transceivers import Several
from support.processes.transceiver_process import Line

from antiphon.runtime.nats import connection
from antiphon.schemas import backbone, messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.backbone import Route
from antiphon.schemas.messages import decode_any, encode

pytestmark = pytest.mark.process


class Cluster(Several):
    """Transceivers of a cluster, and their relay that serves clients of other places."""

    async def start(self, **environment: str) -> None:
        await super().start(**environment)
        self.relays = [self.relay]
        self.ingress = 7
        self.by_second = 0
        self._loop().add_reader(self.relay.socket.fileno(), self._readable)
        self._tasks.append(asyncio.create_task(self._announce_relay()))

    async def spawn(self, **environment: str) -> messages.TransceiverAnnouncement:
        before = set(self.endpoints)
        self.processes.append(self._start_one(environment))
        await self.until(lambda: bool(set(self.endpoints) - before), "it announces itself", 20)
        await self.is_trusted()
        return self.endpoints[(set(self.endpoints) - before).pop()]

    async def announce(self, relay: Datagrams, cluster: int = 0, **more: Any) -> None:
        """A further relay."""
        address = [str(relay.address)]
        said = messages.RelayAnnouncement(
            name="second", public_addresses=address, tunnel_addresses=address, cluster=cluster, **more
        )
        await self.client.publish(subjects.relay_announce("second"), encode(said))
        await self.is_trusted()

    def read_second(self) -> None:
        for packet in self.relays[1].waiting():
            read = tunnel.unpack(packet)
            if read.payload:
                self.by_second += 1
                self.clients[read.header].receive(read.payload)

    def header(self, number: int, slot: int, epoch: int) -> bytes:
        client = Address(f"192.0.2.{number}" if number % 2 else f"2001:db8::{number}", 10_000 + number)
        return backbone.pack_header(client, Route(self.ingress, slot, epoch, 3))

    def forward(self, packet: bytes) -> None:
        """Upward: to the transceiver that announces what the header names."""
        route = backbone.route_of(packet[: tunnel.header_length(packet)])
        owner = self.endpoints[0, route.slot, route.epoch]
        self.relays[-1].send(packet, parse_address(owner.tunnel_address))

    async def call_at(self, at: messages.TransceiverAnnouncement) -> tuple[CarriedPeer, Line]:
        peer = CarriedPeer(lambda data: self.forward(self.header(number, at.slot, at.epoch) + data))
        number = len(self.clients) // 2 + 1
        for ingress in (8, 7):
            self.ingress = ingress
            self.clients[self.header(number, at.slot, at.epoch)] = peer
        request = messages.OpenRequest(offer=peer.offer(), agent="echo")
        reply = await self.client.request(subjects.transceiver_open(0, at.slot), encode(request), timeout=PATIENCE)
        opened = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        line = self.lines[opened.session_id]
        async with asyncio.timeout(PATIENCE):
            await peer.channel_open.wait()
        return peer, line

    async def talk(self, peer: CarriedPeer, line: Line, word: str) -> None:
        """Audio, and messages of several packets, pass both ways."""
        said, played = len(line.frames), len(peer.frames)
        generation = max((frame.generation for frame in line.frames), default=0)
        text = f"{word} " + "x" * 20_000
        peer.speak(tone(0.3))
        await self.say(line, speech(0.3, generation=generation))
        peer.send_text(text)
        down = messages.DataMessage.of("oai-events", text)
        await self.client.publish(subjects.data_out(line.agent, line.session_id), encode(down))
        for frames, since in ((line.frames, said), (peer.frames, played)):
            await self.until(
                lambda frames=frames, since=since: any(  # type: ignore[misc]
                    max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames[since:]
                ),
                f"audio {word}",
            )
        await self.until(lambda: [each.text for each in line.data][-1:] == [text], f"a message up {word}")
        await self.until(lambda: peer.texts[-1:] == [text], f"a message down {word}")
        await self.until(lambda: peer.acknowledged, "the message is acknowledged")


@pytest.fixture
async def cluster(nats_url: str) -> AsyncIterator[Cluster]:
    client = await connection.connect(nats_url, "test")
    running = Cluster(nats_url, client)
    try:
        await running.start()
        yield running
    finally:
        await running.close()
        await client.close()


async def test_an_ingress_that_asks_gets_the_headers_of_its_clients_and_the_relay_between_may_change(
    cluster: Cluster,
) -> None:
    at = await cluster.spawn()
    (peer, line), (other, other_line) = await cluster.call_at(at), await cluster.call_at(at)
    await cluster.talk(peer, line, "by ingress 7")
    cluster.ingress = 8
    for each in (peer, other):
        each.check()
    await cluster.talk(other, other_line, "by ingress 8")
    by_8 = {cluster.header(number, at.slot, at.epoch) for number in (1, 2)}
    cluster.ingress = 7
    by_7 = {cluster.header(number, at.slot, at.epoch) for number in (1, 2)}
    where = parse_address(at.tunnel_address)

    async def asked(packet: bytes, expected: set[bytes]) -> None:
        cluster.bare.clear()
        cluster.relay.send(packet, where)
        await cluster.until(lambda: set(cluster.bare) >= expected, f"{len(expected)} clients are named")
        assert set(cluster.bare) == expected

    await asked(tunnel.hello_for(7), by_7)
    await asked(tunnel.hello_for(8), by_8)
    cluster.bare.clear()
    for _ in range(200):
        cluster.relay.send(tunnel.hello_for(7), where)
        cluster.relay.send(tunnel.hello_for(9), where)
        cluster.relay.send(tunnel.HELLO, where)
    await cluster.talk(peer, line, "while a relay asks")
    assert set(cluster.bare) <= by_7, "no client of another ingress, and none that did not enter here"
    assert len(cluster.bare) <= 2 * 10, "the same question is answered ten times a second"
    second = Datagrams()  # another relay of the cluster, to which the ingress moves its flows
    cluster.sockets.append(second)
    cluster.relays.append(second)
    cluster.forward(cluster.header(1, at.slot, at.epoch) + b"\x80" + bytes(40))  # not announced yet: counts for nothing
    await cluster.announce(second)
    cluster._loop().add_reader(second.socket.fileno(), cluster.read_second)
    await cluster.talk(peer, line, "by another relay")
    assert cluster.by_second > 15, "answers follow"
    told = len(peer.texts)
    for number, ingress in enumerate((0, 8, 7)):  # the first is the relay between, which is not the client's to leave
        await cluster.announce(second, cluster=number, ingress=ingress, state="draining")
    await cluster.until(lambda: len(peer.texts) > told, "the client is told that its ingress ends")
    await cluster.talk(peer, line, "after that")
    assert [text[:40] for text in peer.texts[told:]] == ['{"type":"antiphon.relay_draining"}', "after that " + "x" * 29]


async def test_calls_go_on_under_their_headers_where_their_transceiver_is_killed(cluster: Cluster) -> None:
    """One in the process that has the endpoint now, one in a third, which gets its packets through that."""
    first = await cluster.spawn()
    calls = [await cluster.call_at(first) for _ in range(3)]
    for number, (peer, line) in enumerate(calls):
        await cluster.talk(peer, line, f"before {number}")
        await cluster.stored(line.session_id)
    others = [await cluster.spawn(ANTIPHON_CAPACITY="2") for _ in range(2)]
    cluster.processes[0].kill()
    for _, line in calls:
        await cluster.until(
            lambda line=line: any(isinstance(event, messages.TakenOver) for event in line.events),  # type: ignore[misc]
            "the session is taken over",
        )
    key = 0, first.slot, first.epoch
    await cluster.until(lambda: cluster.endpoints[key].holder != first.holder, "another process has the endpoint")
    await asyncio.gather(*(cluster.talk(*call, f"after {number}") for number, call in enumerate(calls)))
    holder = cluster.endpoints[key].holder
    third = next(each for each in others if each.holder != holder)
    await cluster.until(
        lambda: cluster.endpoints[0, third.slot, third.epoch].sessions > 0, "the one without the endpoint has some"
    )
    cluster.ingress = 8  # and the clients move: what their old owner's endpoint knows of them has to follow
    for peer, _ in calls:
        peer.check()
    await asyncio.gather(*(cluster.talk(*call, f"by another ingress {number}") for number, call in enumerate(calls)))
    assert all(line.ended is None for _, line in calls)
