"""Speech to text, a language model, text to speech: a cascade on models of your own, behind any OpenAI-compatible URL.

    OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none python cascade_agent.py

Needs the package `openai`. The caller may interrupt: the history of the model is cut to what was played.
Should this process die, another one goes on with the conversation: it is in `session.state`.
"""

import asyncio
import io
import os
import wave
from collections.abc import AsyncIterator

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from antiphon.agent import Agent, Session, SpeechStarted, SpeechStopped, TakenOver

TEXT_MODEL = os.environ.get("TEXT_MODEL", "qwen3")
HEARING_MODEL = os.environ.get("HEARING_MODEL", "whisper-1")
SPEECH_MODEL = os.environ.get("SPEECH_MODEL", "tts-1")
INSTRUCTIONS = "You are on the telephone. Answer in one or two short spoken sentences."
RATE = 16000
LEAD_IN = 15  # frames before the speech was noticed

agent = Agent("cascade", input_rate=RATE)
models = AsyncOpenAI()


def as_wav(pcm: bytes) -> bytes:
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(pcm)
        return buffer.getvalue()


async def sentences(messages: list[ChatCompletionMessageParam]) -> AsyncIterator[str]:
    """What the model says, sentence by sentence, while it still thinks."""
    text = ""
    async for chunk in await models.chat.completions.create(model=TEXT_MODEL, messages=messages, stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        while (end := max(text.find(mark) for mark in (". ", "? ", "! "))) >= 0:
            yield text[: end + 1]
            text = text[end + 2 :]
    if text.strip():
        yield text


async def voice(text: str) -> bytes:
    """Speech at 24 kHz."""
    answer = await models.audio.speech.create(model=SPEECH_MODEL, voice="alloy", input=text, response_format="pcm")
    return answer.content


async def answer(session: Session, received: bytes) -> None:
    messages = session.state["messages"]
    text = (await models.audio.transcriptions.create(model=HEARING_MODEL, file=("a.wav", as_wav(received)))).text
    if not text.strip():
        return
    messages.append({"role": "user", "content": text})
    async with session.speak(rate=24000) as speech:  # an interruption leaves this block, wherever it waits
        async for sentence in sentences(messages):
            await speech.write(await voice(sentence), sentence)
    messages.append({"role": "assistant", "content": speech.heard.text})
    session.save()


@agent.session
async def talk(session: Session) -> None:
    session.state.setdefault("messages", [{"role": "system", "content": INSTRUCTIONS}])
    frames: list[bytes] = []
    answering: asyncio.Task[None] | None = None

    async def listen() -> None:
        async for frame in session.audio(RATE):
            frames.append(frame.pcm)
            if not listening:
                del frames[:-LEAD_IN]

    listening = False
    session.start(listen())
    async for event in session.events():
        match event:
            case SpeechStarted():
                listening = True
                await session.flush()
            case SpeechStopped():
                listening = False
                if answering:
                    await answering
                answering = session.start(answer(session, b"".join(frames)))
            case TakenOver():
                session.start(answer_again(session))


async def answer_again(session: Session) -> None:
    await session.say(await voice("Sorry, where were we?"), "Sorry, where were we?")


if __name__ == "__main__":
    agent.run()
