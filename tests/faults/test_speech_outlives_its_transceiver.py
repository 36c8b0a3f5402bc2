"""The transceiver is killed in mid-sentence: its caller hears the sentence to its end through the next one."""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator

import numpy as np
import pytest
import soxr
from support.conditions import until
from support.models.voice import models
from support.peers.transceiver_peer import CarriedPeer
from support.processes.bridge import agent_is_there, running_bridge
from support.processes.relay_process import PATIENCE
from support.processes.several_transceivers import Several, several_transceivers

from antiphon.agent import Agent, Played, Session
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode_any, encode

RATE = 24000
STEPS = 40
STEP_SECONDS = 0.15
LOWEST, APART = 400, 60
"""Hz of the first tone, and from one to the next."""

pytestmark = pytest.mark.realtime


@pytest.fixture
async def several(nats_url: str) -> AsyncIterator[Several]:
    async with several_transceivers(nats_url) as running:
        yield running


class Call:
    """A call that notes what is told about it."""

    def __init__(self, peer: CarriedPeer, session_id: str) -> None:
        self.peer, self.id = peer, session_id
        self.taken_over = asyncio.Event()

    @property
    def heard(self) -> bytes:
        return b"".join(frame.pcm for frame in self.peer.frames)

    @property
    def told(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.peer.texts]

    async def on_event(self, message: object) -> None:
        event = decode_any(message.data, messages.SESSION_EVENT, "event")  # type: ignore[attr-defined]
        if isinstance(event, messages.TakenOver):
            self.taken_over.set()


async def call_on(several: Several, slot: int, agent: str) -> Call:
    peer = several.peer()
    request = encode(messages.OpenRequest(offer=peer.offer(), agent=agent))
    reply = await several.client.request(subjects.transceiver_open(0, slot), request, timeout=PATIENCE)
    opened = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
    assert isinstance(opened, messages.Opened), opened
    call = Call(peer, opened.session_id)
    await several.client.subscribe(subjects.session_event(agent, call.id), cb=call.on_event)
    peer.begin(opened.answer)
    async with asyncio.timeout(PATIENCE):
        await peer.channel_open.wait()
    await several.stored(call.id)
    return call


def scale() -> bytes:
    """Tones one above the other: which of them is heard tells where in the speech it is."""
    samples: list[int] = []
    for number in range(STEPS):
        hertz = LOWEST + APART * number
        count = int(STEP_SECONDS * RATE)
        samples += (round(9000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(count))
    return array("h", samples).tobytes()


def tones(pcm: bytes) -> list[int]:
    """The number of the tone in each 20 ms that are loud."""
    found = []
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    size = RATE // 50
    for at in range(0, len(samples) - size + 1, size):
        piece = samples[at : at + size]
        if np.abs(piece).max() > 3000:
            spectrum = np.abs(np.fft.rfft(piece * np.hanning(size), 4096))
            hertz = float(np.argmax(spectrum)) * RATE / 4096
            found.append(round((hertz - LOWEST) / APART))
    return found


async def test_an_agent_s_speech_is_said_to_its_end_through_the_next_transceiver(
    several: Several, nats_url: str
) -> None:
    said: list[Played] = []
    agent = Agent("scale")

    @agent.session
    async def talk(session: Session) -> None:
        said.append(await session.say(scale(), "up and up"))
        await session.over.wait()

    async with agent.serving(nats_url):
        first = await several.spawn()
        await several.spawn()
        call = await call_on(several, first.slot, "scale")
        await several.until(lambda: 10 in tones(call.heard[-RATE:]), "it is in the middle", 30)
        several.processes[0].kill()
        await several.until(call.taken_over.is_set, "another transceiver has the call", 30)
        await until(lambda: said, 60)
        heard = tones(call.heard)
        print("heard", heard)
        frames = [heard.count(number) for number in range(STEPS)]
        whole = round(STEP_SECONDS * 50)
        missing = [number for number, count in enumerate(frames) if not count]
        assert len(missing) <= 1, f"of each tone something is heard, save what was on the wire: {frames}"
        assert heard[-1] == STEPS - 1
        repeated = sum(max(0, count - whole - 1) for count in frames)
        assert repeated <= 2 * whole, f"hardly anything is heard twice: {frames}"
        assert said == [Played(len(scale()) // 2, RATE, "up and up", complete=True)]


@pytest.mark.nightly
async def test_an_answer_of_the_bridge_is_said_to_its_end_through_the_next_transceiver(
    several: Several, nats_url: str
) -> None:
    with running_bridge(nats_url, greeting="none"):
        await agent_is_there(several.client, "concierge")
        first = await several.spawn()
        await several.spawn()
        call = await call_on(several, first.slot, "concierge")
        text = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Help! What can you do?"}],
        }
        call.peer.send_text(json.dumps({"type": "conversation.item.create", "item": text}))
        call.peer.send_text(json.dumps({"type": "response.create"}))
        await several.until(lambda: call.peer.loudest > 3000, "it speaks", 60)
        await asyncio.sleep(1)  # into its first words
        several.processes[0].kill()
        await several.until(call.taken_over.is_set, "another transceiver has the call", 30)
        await until(lambda: any(each["type"] == "response.done" for each in call.told), 90)
        await asyncio.sleep(1)  # the client's own buffer
        done = next(each for each in call.told if each["type"] == "response.done")
        answer = done["response"]["output"][0]["content"][0]["transcript"]  # type: ignore[index]
        samples = soxr.resample(np.frombuffer(call.heard, dtype="<i2"), RATE, 16000)
        understood = models().transcriber.transcribe(np.asarray(samples, dtype="<i2").tobytes())
        print("said:", answer, "\nheard:", understood)
        assert done["response"]["status"] == "completed"  # type: ignore[index]
        said_words, heard_words = _words(answer), _words(understood)
        assert set(said_words[-3:]) & set(heard_words[-3:]), "to its end"
        found = sum(word in heard_words for word in said_words)
        assert found >= 0.8 * len(said_words), f"{found} of {len(said_words)} words"


def _words(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").split()
