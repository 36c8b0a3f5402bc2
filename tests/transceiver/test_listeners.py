"""Listeners to a call: they hear both voices, and nothing of the call changes for them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame as AvFrame
from nats.errors import NoRespondersError
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE, relay_process
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import Bench

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode_any, encode
from antiphon.transceiver.calls.listeners import MAX_PER_CALL

pytestmark = pytest.mark.process


async def ask_to_listen(
    bench: Bench, session_id: str, offer: str, asker: str = ""
) -> messages.Opened | messages.Refused:
    request = messages.OpenRequest(offer=offer, session_id=session_id, creator=asker, listener=asker)
    reply = await bench.client.request(subjects.call_open(session_id), encode(request), timeout=PATIENCE)
    return decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")


async def listening(bench: Bench, session_id: str) -> tuple[CarriedPeer, str]:
    """A connected listener, and its session."""
    peer = bench.peer()
    opened = await ask_to_listen(bench, session_id, peer.offer())
    assert isinstance(opened, messages.Opened), opened
    peer.begin(opened.answer)
    await asyncio.wait_for(peer.connected.wait(), PATIENCE)
    return peer, opened.session_id


def strength(samples: list[int], hertz: float) -> float:
    wave = np.exp(2j * np.pi * hertz * np.arange(len(samples)) / 48000)
    return float(abs(np.array(samples) @ wave) * 2 / max(1, len(samples)))


async def test_stock_aiortc_hears_both_tones_of_a_call_at_once(bench: Bench) -> None:
    async with relay_process(bench.nats_url, path="portable") as relay:
        await relay.knows(routes=1)
        peer, line = await bench.call()
        before = len(line.events)
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        heard: list[int] = []
        tasks: list[asyncio.Task[None]] = []

        async def hear(track: MediaStreamTrack) -> None:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AvFrame)
                heard.extend(memoryview(bytes(frame.planes[0])).cast("h")[: 2 * frame.samples : 2])

        client.on("track", lambda track: tasks.append(asyncio.create_task(hear(track))))
        client.addTransceiver("audio", direction="recvonly")
        await client.setLocalDescription(await client.createOffer())
        opened = await ask_to_listen(bench, line.session_id, client.localDescription.sdp)
        assert isinstance(opened, messages.Opened)
        host, port = relay.address
        first, mark, rest = opened.answer.partition("a=rtcp-mux\r\n")
        candidate = f"a=candidate:1 1 udp 2130706000 {host} {port} typ host\r\na=end-of-candidates\r\n"
        await client.setRemoteDescription(RTCSessionDescription(first + mark + candidate + rest, "answer"))
        await bench.until(lambda: len(heard) > 9600, "silence is sent, too")
        peer.speak(tone(6.0, hertz=400))
        await bench.say(line, speech(6.0, hertz=1000))

        def both() -> bool:
            lately = heard[-9600:]
            return strength(lately, 400) > 2000 and strength(lately, 1000) > 2000

        await bench.until(both, "both tones are heard in the same 200 ms")
        kinds = {type(event) for event in line.events[before:]} - {messages.ChannelOpened}  # the caller's own
        assert kinds <= {messages.Playout, messages.AudioLevel, messages.MediaStarted, messages.Statistics}
        assert (await bench.control(line, messages.HangUp())).ok
        await bench.sessions(0)
        await client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_listeners_come_late_leave_early_are_counted_and_end_with_the_call(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.say(line, speech(8.0))
    first, first_id = await listening(bench, line.session_id)
    second, _ = await listening(bench, line.session_id)
    await bench.until(lambda: loud(first.frames) and loud(second.frames), "both hear the agent in mid-sentence")
    await first.close()
    await bench.sessions(2)
    heard = len(second.frames)
    await bench.until(lambda: len(second.frames) > heard + 10, "the other one goes on")
    with pytest.raises(NoRespondersError):
        await ask_to_listen(bench, first_id, peer.offer())
    others = [await ask_to_listen(bench, line.session_id, bench.peer().offer()) for _ in range(MAX_PER_CALL)]
    assert [reply.type if isinstance(reply, messages.Opened) else reply.code for reply in others] == [
        *["opened"] * (MAX_PER_CALL - 1),
        "full",
    ]
    opened = next(reply for reply in others if isinstance(reply, messages.Opened))
    for asked, code in ((opened.session_id, "no_session"), (line.session_id, "full")):
        refused = await ask_to_listen(bench, asked, bench.peer().offer())
        assert isinstance(refused, messages.Refused)
        assert refused.code == code, "a listener is no call, and the call has enough of them"
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.until(second.closed.is_set, "the listener is told of the end")
    await bench.sessions(0)

    request = messages.OpenRequest(offer=bench.peer().offer(), agent="echo", creator="key")
    subject = subjects.transceiver_open(0, bench.announcement.slot)
    reply = await bench.client.request(subject, encode(request), timeout=PATIENCE)
    of_a_key = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
    assert isinstance(of_a_key, messages.Opened)
    for asker, may in (("other", False), ("", False), ("key", True), (messages.ANY_CREATOR, True)):
        answer = await ask_to_listen(bench, of_a_key.session_id, bench.peer().offer(), asker)
        assert isinstance(answer, messages.Opened) == may, asker
