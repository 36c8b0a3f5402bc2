"""Puts a realtime model behind the media plane: any server that speaks the OpenAI realtime protocol over WebSocket.

    REALTIME_URL=wss://api.openai.com/v1/realtime?model=gpt-realtime OPENAI_API_KEY=... python realtime_agent.py

Needs the package `websockets`. The server finds the turns; when the caller interrupts, it learns what was played.
"""

import asyncio
import base64
import json
import os
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from antiphon.agent import Agent, Session

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")
KEY = os.environ.get("OPENAI_API_KEY", "")
RATE = 24000

agent = Agent("realtime", input_rate=RATE, detect_speech=False)


@agent.session
async def bridge(session: Session) -> None:
    async with connect(URL, additional_headers={"Authorization": f"Bearer {KEY}"}, proxy=None) as server:
        pcm = {"type": "audio/pcm", "rate": RATE}
        audio = {"input": {"format": pcm, "turn_detection": {"type": "server_vad"}}, "output": {"format": pcm}}
        asked = {"type": "realtime", "audio": audio, "instructions": session.settings.get("instructions", "")}
        await server.send(json.dumps({"type": "session.update", "session": asked}))
        session.start(send_audio(session, server))
        session.start(close_at_the_end(session, server))
        replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        session.start(speak_replies(session, server, replies))
        async for message in server:
            event = json.loads(message)
            match event["type"]:
                case "input_audio_buffer.speech_started":
                    await session.flush()
                case "response.output_audio.delta" | "response.output_audio_transcript.delta" | "response.done":
                    await replies.put(event)
                case "error":
                    print(f"{session.id}: {event['error'].get('message')}")
            if not event["type"].endswith("audio.delta"):
                await session.send(event)  # the page shows transcripts


async def send_audio(session: Session, server: ClientConnection) -> None:
    async for frame in session.audio(RATE):
        audio = base64.b64encode(frame.pcm).decode()
        await server.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


async def close_at_the_end(session: Session, server: ClientConnection) -> None:
    await session.over.wait()
    await server.close()


async def speak_replies(session: Session, server: ClientConnection, replies: asyncio.Queue[dict[str, Any]]) -> None:
    """One reply after another. An interrupted one is cut, on the server too, to what was played."""
    event = await replies.get()
    while True:
        cut = ""
        async with session.speak(RATE) as speech:
            while event["type"] != "response.done":
                if event["type"] == "response.output_audio.delta":
                    cut = event["item_id"]
                    await speech.write(base64.b64decode(event["delta"]))
                event = await replies.get()
        if speech.interrupted:
            played_ms = int(speech.heard.seconds * 1000)
            truncate = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": played_ms}
            if cut:
                await server.send(json.dumps({**truncate, "item_id": cut}))
            while event["type"] != "response.done":
                event = await replies.get()
        event = await replies.get()


if __name__ == "__main__":
    agent.run()
