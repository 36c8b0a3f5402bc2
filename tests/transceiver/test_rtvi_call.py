"""A client that speaks RTVI in a call of a real process: stock aiortc, as Pipecat's clients connect."""

from __future__ import annotations

import json

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from support.peers.aiortc_client import Tone
from support.processes.relay_process import PATIENCE, relay_process
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import Bench

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode_any, encode

pytestmark = [pytest.mark.process, pytest.mark.nightly]


def sent(type_: str, **data: object) -> str:
    return json.dumps({"label": "rtvi-ai", "id": "1", "type": type_, "data": data})


async def test_stock_aiortc_speaks_rtvi_with_an_agent_of_the_realtime_protocol(bench: Bench) -> None:
    async with relay_process(bench.nats_url, path="portable") as relay:
        await relay.knows(routes=1)
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        client.addTrack(Tone())
        channel = client.createDataChannel("chat")
        texts: list[str] = []
        channel.on("message", texts.append)
        channel.on("open", lambda: channel.send(sent("client-ready", version="2.1.0")))
        await client.setLocalDescription(await client.createOffer())
        request = messages.OpenRequest(offer=client.localDescription.sdp, agent="echo", dialect="rtvi")
        subject = subjects.transceiver_open(0, bench.announcement.slot)
        reply = await bench.client.request(subject, encode(request), timeout=PATIENCE)
        opened = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
        assert isinstance(opened, messages.Opened)
        host, port = relay.address
        first, mark, rest = opened.answer.partition("a=rtcp-mux\r\n")
        candidate = f"a=candidate:1 1 udp 2130706000 {host} {port} typ host\r\na=end-of-candidates\r\n"
        await client.setRemoteDescription(RTCSessionDescription(first + mark + candidate + rest, "answer"))
        line = bench.lines[opened.session_id]
        await bench.until(lambda: len(texts) == 1 and loud(line.frames), "it is ready, and the client is heard")
        assert json.loads(texts[0])["type"] == "bot-ready"
        assert messages.ChannelOpened(channel="oai-events") in line.events
        event = json.dumps({"type": "input_audio_buffer.speech_started"})
        said = messages.DataMessage.of("oai-events", event)
        await bench.client.publish(subjects.data_out(line.agent, line.session_id), encode(said))
        channel.send(sent("send-text", content="Hello"))
        await bench.until(lambda: len(texts) == 2 and len(line.data) == 3, "messages pass both ways")
        assert json.loads(texts[1])["type"] == "user-started-speaking"
        assert json.loads(line.data[1].text or "")["item"]["content"][0]["text"] == "Hello"
        channel.send(sent("disconnect-bot"))
        await bench.until(lambda: line.ended == "hang_up", "the call has ended")
        await bench.until(lambda: len(texts) == 3, "the client was told")
        assert json.loads(texts[2])["message"]["type"] == "peerLeft"
        await client.close()
