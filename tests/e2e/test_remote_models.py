"""A whole conversation in Chromium of which no model is ours: recogniser, chat server and voice are asked over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from support import scripted_chat_server
from support.browsers.chromium import chromium_page, wait_for
from support.browsers.echo_call import start_call
from support.chat_quirks import QUIRKS
from support.models import speech_server
from support.models.speech_server import SpeechServer
from support.models.transcription_server import TranscriptionServer, transcription_server
from support.models.voice import decode_stereo_wav, say, silence, transcribe, words, write_microphone
from support.processes.bridge import running_bridge
from support.processes.stack import Stack

from antiphon.runtime.nats.permissions import User

pytestmark = pytest.mark.realtime

AGENT = "reasoner"


class Models:
    """The three servers, on a loop of their own."""

    def __init__(self, chat: scripted_chat_server.ScriptedChat, stt: TranscriptionServer, tts: SpeechServer) -> None:
        self.chat, self.stt, self.tts = chat, stt, tts


@asynccontextmanager
async def servers() -> AsyncIterator[Models]:
    answers = next(quirk.answers for quirk in QUIRKS if quirk.name == "think-recorded")
    async with AsyncExitStack() as stack:
        chat = await stack.enter_async_context(scripted_chat_server.scripted_chat(*answers))
        stt = await stack.enter_async_context(transcription_server())
        tts = await stack.enter_async_context(speech_server.speech_server())
        stt.says("What time is it?")
        tts.answer = lambda request: speech_server.Answer([say(request["input"]).astype("<i2").tobytes()])
        yield Models(chat, stt, tts)


@contextmanager
def remote_models() -> Iterator[Models]:
    """Their loop runs in a thread: the page is driven without one."""
    loop, started, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[Models] = []

    async def serve() -> None:
        async with servers() as models:
            found.append(models)
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


@pytest.mark.nightly
def test_a_reasoning_model_is_heard_with_its_answer_and_without_its_thoughts(stack: Stack, tmp_path: Path) -> None:
    say("It is ten.")  # loads the voice before a caller waits for it
    microphone = write_microphone(tmp_path / "question.wav", silence(6), say("What time is it?"), silence(60))
    known = stack.user(User("bridge", AGENT))
    with (
        remote_models() as models,
        running_bridge(
            stack.nats_url,
            nats_credentials=known["ANTIPHON_NATS_CREDENTIALS"],
            agent_name=AGENT,
            llm_url=models.chat.url,
            llm_model="thinker",
            stt_url=models.stt.url,
            tts_url=models.tts.url,
            greeting="none",
        ),
        chromium_page(microphone) as page,
    ):
        start_call(page, stack.url, AGENT)
        wait_for(page, "window.antiphon.state === 'listening'", seconds=30)
        page.evaluate("window.antiphon.recorder.start()")
        wait_for(page, "window.antiphon.events.some(event => event.type === 'response.done')", seconds=60)
        _, agent, rate = decode_stereo_wav(page.evaluate("window.antiphon.recorder.stop()"))
        shown = page.locator("#conversation").inner_text()
        page.get_by_role("button", name="End call").click()
    heard = words(transcribe(agent, rate))
    assert "ten" in heard or "10" in heard, heard
    for spoken in (" ".join(heard), shown.lower(), " ".join(str(r["input"]).lower() for r in models.tts.requests)):
        assert "caller" not in spoken
        assert "think" not in spoken
    assert models.stt.asked
    assert "what time is it?" in shown.lower()
