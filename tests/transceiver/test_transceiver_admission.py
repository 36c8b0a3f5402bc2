"""Whom a transceiver process lets in: offers within its capacity, packets of relays it knows."""

from __future__ import annotations

import asyncio
import random

import nats.errors
import pytest
from nats.aio.msg import Msg
from support.models.sounds import speech, tone
from support.processes.relay_process import Datagrams
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import encode

pytestmark = pytest.mark.process


async def test_random_datagrams_change_nothing(bench: Bench) -> None:
    peer, line = await bench.call()
    generator, stranger = random.Random(1), Datagrams()
    known = next(iter(bench.clients))
    for number in range(3000):
        rubbish = generator.randbytes(generator.randrange(200))
        first = bytes([generator.choice([0, 1, 20, 22, 23, 128, 144, 200])])
        packet = generator.choice([rubbish, known + rubbish, known + first + rubbish, tunnel.HELLO[:5], b""])
        (bench.relay if number % 2 else stranger).send(packet, bench.address)
        if number % 100 == 0:
            await asyncio.sleep(0.01)
    stranger.close()
    before = len(line.frames)
    await bench.until(lambda: len(line.frames) > before + 20, "the call goes on")
    peer.send_text("still here")
    await bench.until(lambda: bool(line.data), "data passes")
    assert line.ended is None
    await bench.sessions(1)
    another, _ = await bench.call()
    await another.close()


async def test_packets_of_a_relay_nobody_announced_are_ignored(bench: Bench) -> None:
    peer = bench.peer()
    opened = await bench.ask(peer.offer())
    assert isinstance(opened, messages.Opened)
    line = {name: value for name, _, value in (row.partition(":") for row in opened.answer.split("\r\n"))}
    check = pack_binding_request(f"{line['a=ice-ufrag']}:x", line["a=ice-pwd"], use_candidate=True)
    header = tunnel.pack_header(Address("192.0.2.9", 9))
    stranger = Datagrams()
    stranger.send(header + check, bench.address)
    stranger.send(tunnel.HELLO, bench.address)
    # Our own relay's check comes later and is answered first: the stranger's was read and not answered.
    peer.begin(opened.answer)
    await asyncio.wait_for(peer.connected.wait(), 10)
    assert stranger.waiting() == []
    stranger.close()


async def test_a_hello_is_answered_with_the_bare_headers_of_all_clients(bench: Bench) -> None:
    for _ in range(3):
        await bench.call()
    bench.bare.clear()
    bench.relay.send(tunnel.HELLO, bench.address)
    await bench.until(lambda: sorted(bench.bare) == sorted(bench.clients), "all headers come")


async def test_a_flow_is_found_by_its_owner_and_by_nobody_else(bench: Bench) -> None:
    await bench.call()
    client = tunnel.unpack(next(iter(bench.clients))).client
    reply = await bench.client.request(subjects.FLOW_FIND, encode(messages.FlowFind(client=str(client))), timeout=5)
    owner = messages.decode(reply.data, messages.FlowOwner)
    assert (owner.slot, owner.epoch) == (bench.announcement.slot, bench.announcement.epoch)
    with pytest.raises(nats.errors.TimeoutError):
        await bench.client.request(subjects.FLOW_FIND, encode(messages.FlowFind(client="192.0.2.200:1")), timeout=0.3)


async def test_concurrent_opens_never_exceed_the_capacity(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_CAPACITY="5") as bench:
        bench.claim_delay = 0.005
        offer = bench.peer().offer()
        began = asyncio.get_running_loop().time()
        replies = await asyncio.gather(*(bench.ask(offer) for _ in range(20)))
        opened = [reply for reply in replies if isinstance(reply, messages.Opened)]
        refused = [reply for reply in replies if isinstance(reply, messages.Refused)]
        assert (len(opened), {reply.code for reply in refused}) == (5, {"full"})
        assert asyncio.get_running_loop().time() - began < 5
        await bench.sessions(5)
        line = bench.lines[opened[0].session_id]
        assert (await bench.control(line, messages.HangUp())).ok
        assert isinstance(await bench.ask(offer), messages.Opened)


async def test_a_transceiver_that_is_late_refuses_new_calls_at_once_and_keeps_those_it_has(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_MAX_LATENESS_MS="0.001") as bench:  # nobody is ever that early
        _, line = await bench.call()
        frames = len(line.frames)
        await bench.until(lambda: len(line.frames) > frames + 50, "its clock has something to measure")
        refused = await bench.ask(bench.peer().offer())
        assert isinstance(refused, messages.Refused)
        assert refused.code == "full"
        assert "late" in refused.message
        assert line.ended is None
        await bench.control(line, messages.HangUp())
        await bench.sessions(0)
        opened = None
        async with asyncio.timeout(30):  # what was measured is forgotten after 5 s
            while not isinstance(opened, messages.Opened):
                opened = await bench.ask(bench.peer().offer())
                await asyncio.sleep(0.1)


async def test_calls_add_no_thread_and_no_task_on_the_path_of_their_media(bench: Bench) -> None:
    await bench.call()
    before, threads = await bench.figures(), bench.threads()
    calls = [await bench.call() for _ in range(6)]
    for peer, line in calls:
        peer.speak(tone(1.0))
        await bench.say(line, speech(1.0))
    busiest = 0
    for _ in range(10):
        told = await bench.figures()
        busiest = max(busiest, told["tasks"])
        await asyncio.sleep(0.02)
    assert told["visits"] >= before["visits"] + 6
    assert told["calls"]["packets_received"] > before["calls"]["packets_received"]
    assert told["calls"]["packets_sent"] > before["calls"]["packets_sent"]
    assert bench.threads() == threads
    # Two subscriptions of a session are handled in a task of nats-py's own: control and further offers.
    assert busiest - before["tasks"] <= 6 * 2 + 8, "eight for announcing, checkpoints and this question itself"


async def test_an_agent_that_does_not_answer_holds_up_nobody_else(bench: Bench) -> None:
    asked = []

    async def deaf(message: Msg) -> None:
        """Takes the claim and says nothing."""
        asked.append(message)

    await bench.client.subscribe(subjects.agent_claim("deaf"), cb=deaf)
    await connection.flush(bench.client)
    offer = bench.peer().offer()
    slow = [asyncio.create_task(bench.ask(offer, "deaf")) for _ in range(10)]
    await bench.until(lambda: len(asked) == 10, "all claims are made at the same time")
    assert isinstance(await bench.ask(offer), messages.Opened)
    assert not all(task.done() for task in slow)
    replies = await asyncio.gather(*slow)
    assert {reply.code for reply in replies if isinstance(reply, messages.Refused)} == {"no_agent"}
    missing = await bench.ask(offer, "nobody")
    assert isinstance(missing, messages.Refused)
    assert "'nobody'" in missing.message


async def test_a_bad_offer_is_refused_with_its_reason_and_costs_no_slot(bench: Bench) -> None:
    for offer, code in (
        ("hello", "bad_offer"),
        ("v=0\r\n", "no_audio"),
        ("v=0\r\nm=video 9 RTP/SAVPF 96\r\n", "no_audio"),
    ):
        reply = await bench.ask(offer)
        assert isinstance(reply, messages.Refused), offer
        assert reply.code == code, offer
        await bench.sessions(0)
