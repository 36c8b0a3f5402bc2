"""A client that offers again on its running call: a transceiver process, real NATS, real DTLS."""

from __future__ import annotations

import re

import pytest
from support.models.sounds import speech, tone
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import Bench

from antiphon.schemas import messages

pytestmark = pytest.mark.process

VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n"


def values(answer: str, name: str) -> set[str]:
    return set(re.findall(f"^a={name}:(.*)\r$", answer, re.M))


async def test_another_offer_with_the_same_credentials_restarts_nothing_and_its_direction_is_obeyed(
    bench: Bench,
) -> None:
    peer, line = await bench.call()
    offer = peer.offer()

    async def ask(text: str) -> str:
        opened = await bench.ask(text, session_id=line.session_id)
        assert isinstance(opened, messages.Opened), opened
        return opened.answer

    def directions() -> list[str]:
        return [event.direction for event in line.events if isinstance(event, messages.DirectionChanged)]

    first = await ask(offer)
    assert values(first, "ice-ufrag") == {peer.answer.ufrag}
    assert values(first, "ice-pwd") == {peer.answer.password}
    group = re.findall("a=group:BUNDLE.*", offer)[0]
    with_video = await ask(offer.replace(group, f"{group.rstrip()} v\r") + VIDEO)
    assert "m=video 0 " in with_video
    assert values(with_video, "ice-ufrag") == {peer.answer.ufrag}
    await bench.say(line, speech(20.0))
    await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard")
    for held, answered in (("inactive", "inactive"), ("sendonly", "recvonly")):
        answer = await ask(offer.replace("a=sendrecv", f"a={held}").replace("c=IN IP4 0.0.0.0", "c=IN IP4 0.0.0.0"))
        assert f"a={answered}\r\n" in answer
        assert values(answer, "ice-ufrag") == {peer.answer.ufrag}
        await bench.until(lambda: not loud(peer.frames[-10:]), "silence while held")
        assert "a=sendrecv\r\n" in await ask(offer)
        await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard again")
    await bench.until(lambda: directions() == ["inactive", "sendrecv", "recvonly", "sendrecv"], "the agent is told")
    peer.speak(tone(1.0))
    await bench.until(lambda: loud(line.frames[-20:]), "and the caller is heard")
    restarted = await ask(re.sub("a=ice-(ufrag|pwd):.{4}", r"a=ice-\1:new0", offer))
    assert values(restarted, "ice-ufrag") != {peer.answer.ufrag}
    assert values(await ask(offer), "ice-ufrag") == {peer.answer.ufrag}, "until the new ones are used, both are known"
    versions = [int(re.findall(r"o=- \d+ (\d+)", each)[0]) for each in (first, with_video, restarted)]
    assert versions == sorted(set(versions))
    other_codec = await bench.ask(offer.replace("opus/48000", "L16/8000"), session_id=line.session_id)
    assert isinstance(other_codec, messages.Refused)
    assert other_codec.code in ("bad_offer", "no_opus")
    assert line.ended is None
