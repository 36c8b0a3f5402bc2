"""Calls of a transceiver process: real sockets, real NATS, real DTLS; the test is relay, agent and signaling."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from av import AudioFrame as AvFrame
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from support.models.sounds import speech, tone
from support.peers.aiortc_client import Tone
from support.peers.transceiver_peer import CANDIDATE
from support.processes.call_records import CallRecords
from support.processes.nats import nats_server
from support.processes.relay_process import relay_process
from support.processes.transceiver_observed import kill_nats, loud, spoken
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.cli.call.sdp import Answer
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import encode

pytestmark = pytest.mark.process


async def test_a_call_carries_audio_and_data_both_ways(bench: Bench) -> None:
    records = await CallRecords().start(bench.client)
    peer, line = await bench.call()
    peer.speak(tone(1.0))
    await bench.say(line, speech(1.0))
    await bench.until(lambda: loud(line.frames) and loud(peer.frames), "both hear each other")
    peer.send_text('{"type": "antiphon.client_stats", "jitter_buffer_ms": 40}')
    peer.send_text("up")
    await bench.client.publish(
        subjects.data_out(line.agent, line.session_id), encode(messages.DataMessage.of("oai-events", "down"))
    )
    await bench.until(lambda: bool(line.data) and peer.texts == ["down"], "messages pass")
    assert line.data[0].text == "up"
    await bench.until(lambda: "ended" in line.states(), "the reply's end is told")
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.until(lambda: line.ended == "hang_up" and peer.closed.is_set(), "both are told of the end")
    await bench.sessions(0)
    await bench.until(lambda: len(records.webhooks) == 2, "the record is written to its end")
    names = records.names(line.session_id)
    assert (names[0], names[-1]) == ("connected", "ended")
    assert "media_started" in names
    (ended,) = records.ended
    assert (ended.reason, ended.call.state, ended.call.agent, ended.call.path) == ("hang_up", "ended", "echo", "udp")
    assert ended.call.packets_received > 0
    assert ended.call.owner
    assert ended.call.client is not None
    assert ended.call.client.jitter_buffer_ms == 40
    assert [each.type for each in records.webhooks] == ["call.started", "call.ended"]


async def test_another_region_asks_after_a_call_and_ends_it_and_gets_no_answer_for_one_that_is_not_here(
    bench: Bench,
) -> None:
    _, line = await bench.call()

    async def ask(kind: str, request: bytes, session_id: str = line.session_id, seconds: float = 5) -> bytes:
        subject = subjects.cluster_call(0, session_id, kind)
        return (await bench.client.request(subject, request, timeout=seconds)).data

    assert messages.decode(await ask("status", b""), messages.CallStatus).state == "running"
    for kind in ("open", "hang_up", "status"):
        with pytest.raises(NatsTimeoutError):
            await ask(kind, b"{}", f"rtc_{'x' * 24}", 0.2)
    assert messages.decode(await ask("hang_up", encode(messages.HangUp())), messages.ControlReply).ok
    await bench.until(lambda: line.ended == "hang_up", "the agent is told of the end")


async def test_what_an_agent_says_before_it_answers_the_claim_is_not_lost(bench: Bench) -> None:
    bench.early = [("data", encode(messages.DataMessage.of("oai-events", f"early {n}"))) for n in range(5)]
    peer, _ = await bench.call()
    await bench.until(lambda: len(peer.texts) == 5, "early messages arrive")
    assert peer.texts == [f"early {n}" for n in range(5)]


async def test_flush_pause_and_resume_over_nats(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.say(line, speech(20.0, generation=1))
    await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard")
    assert (await bench.control(line, messages.Pause())).ok
    await bench.until(lambda: not loud(peer.frames[-10:]), "silence while paused")
    assert (await bench.control(line, messages.Resume())).ok
    await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard again")
    assert (await bench.control(line, messages.Flush(generation=2))).ok
    await bench.until(lambda: not loud(peer.frames[-10:]), "silence after the flush")
    await bench.until(lambda: any(isinstance(event, messages.Flushed) for event in line.events), "flushed is told")
    await bench.say(line, speech(0.5, generation=2))
    await bench.until(lambda: loud(peer.frames[-3:]), "the next generation is heard")
    reply = await bench.client.request(subjects.session_control(line.agent, line.session_id), b"{}", timeout=5)
    assert b'"ok":false' in reply.data


async def test_unusable_frames_are_reported_and_harm_nothing(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.client.publish(subjects.audio_out(line.agent, line.session_id), b"\xc1 no frame")
    await bench.client.publish(subjects.data_out(line.agent, line.session_id), b"no message")
    await bench.until(
        lambda: sum(isinstance(event, messages.SessionError) for event in line.events) == 2, "both are reported"
    )
    await bench.say(line, speech(0.5))
    await bench.until(lambda: loud(peer.frames), "speech is still heard")


def with_other_credentials(offer: str) -> str:
    """As a client writes it that restarts ICE."""
    return re.sub("a=ice-(ufrag|pwd):.{4}", r"a=ice-\1:new0", offer)


async def test_a_new_offer_on_a_running_session_restarts_its_ice(bench: Bench) -> None:
    peer, line = await bench.call()
    offer = with_other_credentials(peer.offer())
    opened = await bench.ask(offer, session_id=line.session_id)
    assert isinstance(opened, messages.Opened)
    assert opened.session_id == line.session_id
    assert opened.cluster == 0
    assert "a=setup:active" in opened.answer
    answer = Answer(opened.answer + CANDIDATE)
    assert answer.ufrag != peer.answer.ufrag
    assert answer.fingerprints == peer.answer.fingerprints
    assert re.findall("o=- (.*) IN", opened.answer)[0].split()[1] == "2"
    peer.answer.ufrag, peer.answer.password = answer.ufrag, answer.password
    frames = len(line.frames)
    await bench.until(lambda: len(line.frames) > frames + 200, "audio goes on beyond the next checks")
    assert line.ended is None
    stranger = await bench.ask(bench.peer().offer(), session_id=line.session_id)
    assert isinstance(stranger, messages.Refused)
    assert stranger.code == "bad_offer"
    with pytest.raises(NoRespondersError):
        await bench.ask(offer, session_id="rtc_nobody")
    # A request says for which call it is, and that has to be the call of the subject.
    other = encode(messages.OpenRequest(offer=offer, session_id="rtc_nobody"))
    new_calls = subjects.transceiver_open(0, bench.announcement.slot)
    again = encode(messages.OpenRequest(offer=offer, session_id=line.session_id))
    for subject, request in ((subjects.call_open(line.session_id), other), (new_calls, again)):
        reply = await bench.client.request(subject, request, timeout=5)
        refused = messages.decode(reply.data, messages.Refused)
        assert refused.code == "no_session"
        assert "use the subject of its own" in refused.message


async def test_new_ice_credentials_of_the_client_restart_its_ice_without_an_offer(bench: Bench) -> None:
    peer, line = await bench.call()
    theirs = messages.IceCredentials(
        **{
            name: re.findall(f"a=ice-{key}:(.*)\r", peer.offer())[0]
            for name, key in (("ufrag", "ufrag"), ("password", "pwd"))
        }
    )

    async def exchange(ice: messages.IceCredentials, *sessions: str) -> messages.Opened | messages.Refused:
        request = messages.OpenRequest(offer="", session_id=line.session_id, ice=ice, ice_sessions=list(sessions))
        reply = await bench.client.request(subjects.call_open(line.session_id), encode(request), timeout=5)
        return messages.decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")

    first = peer.answer.ufrag
    for sessions in (["*"], [first], ["other", first]):
        same = await exchange(theirs, *sessions)
        assert isinstance(same, messages.Opened)
        assert same.ice is None, "candidates of the ICE session that there is change nothing"
    new = messages.IceCredentials(ufrag="newU", password="n" * 24)
    for stale in ([], ["other"]):
        refused = await exchange(new, *stale)
        assert isinstance(refused, messages.Refused)
        assert refused.code == "stale_ice"
    restarted = await exchange(new, first)
    assert isinstance(restarted, messages.Opened)
    assert restarted.ice is not None
    assert restarted.ice.ufrag != first
    assert (await exchange(new, restarted.ice.ufrag)) == restarted.model_copy(update={"ice": None})
    assert isinstance(await exchange(theirs, first), messages.Refused), "the old tag is of no ICE session any more"
    peer.answer.ufrag, peer.answer.password = restarted.ice.ufrag, restarted.ice.password
    frames = len(line.frames)
    await bench.until(lambda: len(line.frames) > frames + 200, "audio goes on beyond the next checks")
    assert line.ended is None


@pytest.mark.parametrize("codec", ["opus", "PCMU", pytest.param("PCMA", marks=pytest.mark.nightly)])
async def test_stock_aiortc_talks_and_listens_through_a_real_relay(bench: Bench, codec: str) -> None:
    async with relay_process(bench.nats_url, path="portable") as relay:
        await relay.knows(routes=1)
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        heard: list[int] = []
        listening: list[asyncio.Task[None]] = []

        async def listen(track: MediaStreamTrack) -> None:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AvFrame)
                heard.append(max(memoryview(bytes(frame.planes[0])).cast("h")))

        client.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
        client.addTrack(Tone())
        offered = [each for each in RTCRtpSender.getCapabilities("audio").codecs if each.name.upper() == codec.upper()]
        client.getTransceivers()[0].setCodecPreferences(offered)
        channel = client.createDataChannel("oai-events")
        texts: list[str] = []
        channel.on("message", texts.append)
        channel.on("open", lambda: channel.send("x" * 16_000))
        await client.setLocalDescription(await client.createOffer())
        opened = await bench.ask(client.localDescription.sdp)
        assert isinstance(opened, messages.Opened)
        assert codec in opened.answer
        host, port = relay.address
        first, mark, rest = opened.answer.partition("a=rtcp-mux\r\n")
        candidate = f"a=candidate:1 1 udp 2130706000 {host} {port} typ host\r\na=end-of-candidates\r\n"
        await client.setRemoteDescription(RTCSessionDescription(first + mark + candidate + rest, "answer"))
        line = bench.lines[opened.session_id]
        await bench.until(lambda: loud(line.frames), "the client is heard")
        await bench.until(lambda: len(line.data) == 1, "16 KB came on the data channel")
        assert line.data[0].text == "x" * 16_000
        await bench.client.publish(
            subjects.data_out(line.agent, line.session_id), encode(messages.DataMessage.of("oai-events", "y" * 16_000))
        )
        await bench.say(line, speech(3.0))
        await bench.until(lambda: texts == ["y" * 16_000], "16 KB went on the data channel")
        await bench.until(lambda: max(heard, default=0) > 4000, "the agent is heard")
        await client.close()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        await bench.until(lambda: line.ended == "client_closed", "the end is seen at once")


@pytest.mark.nightly
async def test_a_call_outlives_nats_and_its_audio_resumes_by_itself(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url, ExitStack() as later:
        port = int(url.rpartition(":")[2])
        async with transceiver_process(url) as bench:
            peer, line = await bench.call()
            bench.announcing = False  # the relay comes back to NATS later than the transceiver
            kill_nats(tmp_path)
            await bench.until(lambda: not bench.client.is_connected, "NATS is gone")
            at = len(peer.frames)
            await asyncio.sleep(7)  # longer than an announcement lives
            assert bench.is_running()
            later.enter_context(nats_server(tmp_path / "again", port))  # outlives every client
            await bench.until(lambda: bench.client.is_connected, "NATS is back")
            seen = len(line.frames)
            began = asyncio.get_running_loop().time()
            await bench.until(lambda: len(spoken(line.frames[seen:])) > 50, "the caller is heard again")
            assert asyncio.get_running_loop().time() - began < 4
            bench.announcing = True
            await bench.say(line, speech(1.0))
            await bench.until(lambda: loud(peer.frames[at:]), "the agent is heard again")
            assert line.ended is None
            assert isinstance(await bench.ask(peer.offer()), messages.Opened)
