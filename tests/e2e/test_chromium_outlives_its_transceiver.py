"""Chromium in a call whose transceiver is killed: another process goes on with it, data channel and all."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page
from support.conditions import wait_until
from support.models.sounds import tone
from support.models.voice import write_microphone
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode, decode_any, encode

pytestmark = [pytest.mark.realtime, pytest.mark.models]

T = TypeVar("T")

PLACE_CALL = """async () => {
  const call = window.call = new RTCPeerConnection();
  const microphone = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: false}});
  call.addTrack(microphone.getAudioTracks()[0], microphone);
  call.ontrack = ({track}) => {
    window.speaker = new Audio();
    window.speaker.srcObject = new MediaStream([track]);
    window.speaker.play();
  };
  window.texts = [];
  window.channel = call.createDataChannel("oai-events");
  channel.onmessage = ({data}) => texts.push(data);
  await call.setLocalDescription();
  const options = {method: "POST", headers: {"Content-Type": "application/sdp"}, body: call.localDescription.sdp};
  const answer = await fetch("/v1/realtime/calls?agent=echo", options);
  window.place = answer.headers.get("Location");
  await call.setRemoteDescription({type: "answer", sdp: await answer.text()});
}"""
RESTART_ICE = """async () => {
  call.restartIce();
  await call.setLocalDescription();
  const options = {method: "POST", headers: {"Content-Type": "application/sdp"}, body: call.localDescription.sdp};
  const answer = await fetch(place, options);
  await call.setRemoteDescription({type: "answer", sdp: await answer.text()});
  return answer.status;
}"""
HEARD = """async () => {
  const audio = [...(await call.getStats()).values()].find(entry => entry.type === "inbound-rtp");
  return {packets: audio?.packetsReceived ?? 0, concealed: audio?.concealedSamples ?? 0,
          silent: audio?.silentConcealedSamples ?? 0};
}"""
USED = """async () => {
  const all = await call.getStats();
  const transport = [...all.values()].find(entry => entry.type === "transport");
  return all.get(all.get(transport.selectedCandidatePairId).localCandidateId).usernameFragment;
}"""


class Bus:
    """What the call says on NATS, heard from a thread: the browser's driver has this one."""

    def __init__(self, stack: Stack) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.texts: list[str | None] = []
        self.events: list[messages.Message] = []
        self.seats: dict[int, messages.TransceiverAnnouncement] = {}
        self._operator: Client = self.do(connection.connect(stack.nats_url, "test", stack.access("operator")))
        self._client: Client = self.do(self._connect(stack))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def _connect(self, stack: Stack) -> Client:
        async def heard(message: Msg) -> None:
            kind = subjects.parse_session_subject(message.subject).kind
            if kind == "data.in":
                self.texts.append(decode(message.data, messages.DataMessage).text)
            elif kind == "event":
                self.events.append(decode_any(message.data, messages.SESSION_EVENT, "event"))

        async def announced(message: Msg) -> None:
            said = decode(message.data, messages.TransceiverAnnouncement)
            self.seats[said.slot] = said

        client = await connection.connect(stack.nats_url, "test", stack.access("bridge"))
        await client.subscribe("antiphon.v1.session.echo.*.data.in", cb=heard)
        await client.subscribe("antiphon.v1.session.echo.*.event", cb=heard)
        await self._operator.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=announced)
        return client

    def say(self, session_id: str, text: str) -> None:
        message = encode(messages.DataMessage.of("oai-events", text))
        self.do(self._client.publish(subjects.data_out("echo", session_id), message))

    def pids(self) -> dict[int, int]:
        """Of the processes, by slot."""

        async def ask() -> dict[int, int]:
            inbox = self._operator.new_inbox()
            answers = await self._operator.subscribe(inbox)
            await self._operator.publish("$SRV.PING.antiphon-transceiver", reply=inbox)
            found: dict[int, int] = {}
            while len(found) < 2:
                metadata = json.loads((await answers.next_msg(5)).data)["metadata"]
                found[int(metadata["slot"])] = int(metadata["pid"])
            return found

        return self.do(ask())

    def close(self) -> None:
        self.do(self._client.close())
        self.do(self._operator.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def stack() -> Iterator[Stack]:
    environment = {"ANTIPHON_TRANSCEIVER_PROCESSES": "2"}
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT), environment=environment) as running:
        yield running


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium_page(write_microphone(tmp_path / "tone.wav", tone_of(60))) as opened:
        yield opened


def tone_of(seconds: float) -> Any:
    return np.frombuffer(tone(seconds, 48000), "<i2")


def heard(page: Page) -> dict[str, float]:
    found: dict[str, float] = page.evaluate(HEARD)
    return found


def exchange(page: Page, bus: Bus, session_id: str, word: str) -> None:
    """A message each way."""
    page.evaluate("text => channel.send(text)", f"up {word}")
    bus.say(session_id, f"down {word}")
    wait_until(lambda: f"up {word}" in bus.texts and f"down {word}" in page.evaluate("texts"), 20)


def test_a_browser_s_call_outlives_a_killed_transceiver_and_an_ice_restart(stack: Stack, page: Page) -> None:
    bus = Bus(stack)
    try:
        wait_until(lambda: len(bus.seats) == 2, 20)
        page.goto(stack.url)
        page.evaluate(PLACE_CALL)
        session_id = page.evaluate("place").rpartition("/")[2]
        wait_until(lambda: page.evaluate("channel.readyState") == "open", 20)
        wait_until(lambda: heard(page)["packets"] > 100, 20)
        exchange(page, bus, session_id, "before")
        wait_until(lambda: any(seat.sessions for seat in bus.seats.values()), 10)
        slot = next(slot for slot, seat in bus.seats.items() if seat.sessions)
        # Acknowledged is what is stored: a message that the browser has counted as sent is not sent again.
        wait_until(lambda: page.evaluate("channel.bufferedAmount") == 0, 10)

        before = heard(page)
        os.kill(bus.pids()[slot], signal.SIGKILL)
        page.evaluate("text => channel.send(text)", "up meanwhile")
        wait_until(lambda: any(isinstance(event, messages.TakenOver) for event in bus.events), 10)
        wait_until(lambda: heard(page)["packets"] > before["packets"] + 100, 20)
        exchange(page, bus, session_id, "after")
        after = heard(page)
        print(f"concealed: {(after['concealed'] - before['concealed']) / 48:.0f} ms")
        assert page.evaluate("call.connectionState") == "connected"

        used = page.evaluate(USED)
        assert page.evaluate(RESTART_ICE) == 200
        wait_until(lambda: page.evaluate(USED) != used, 20)
        wait_until(lambda: page.evaluate("call.connectionState") == "connected", 20)
        before = heard(page)
        wait_until(lambda: heard(page)["packets"] > before["packets"] + 100, 20)
        exchange(page, bus, session_id, "at last")

        ours = [text for text in bus.texts if text and text.startswith("up ")]
        # One whose acknowledgement was not sent yet when the process was killed reaches the agent twice.
        assert [text for text, _ in itertools.groupby(ours)] == ["up before", "up meanwhile", "up after", "up at last"]
        theirs = [text for text in page.evaluate("texts") if text.startswith("down ")]
        assert theirs == ["down before", "down after", "down at last"]
        assert not any(isinstance(event, messages.Ended) for event in bus.events)
    finally:
        bus.close()
