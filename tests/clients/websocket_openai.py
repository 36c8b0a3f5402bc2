"""A conversation over WebSocket by OpenAI's Python client: `python websocket_openai.py URL SPEECH.pcm`.

SPEECH.pcm: a question, s16le at 24 kHz. Exit status 0 if the agent has answered it, been interrupted and truncated,
and answered a turn that was committed by hand.
"""

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()


async def speak(connection: Any, pcm: bytes) -> None:
    for first in range(0, len(pcm), 4800):  # 100 ms, in real time
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[first : first + 4800]).decode())
        await asyncio.sleep(0.1)


async def until(connection: Any, kind: str, seconds: float = 30) -> list[Any]:
    events = []
    async with asyncio.timeout(seconds):
        async for event in connection:
            events.append(event)
            if event.type == "error":
                print("  error:", event.error.message)
            if event.type == kind:
                return events
    raise AssertionError(f"no {kind}")


def of(events: list[Any], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="unused")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        created = (await until(connection, "session.created"))[-1]
        print("session", created.session.id, created.session.audio.input.format)
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        await until(connection, "session.updated")
        speaking = asyncio.create_task(speak(connection, SPEECH + bytes(96000)))
        events = await until(connection, "conversation.item.input_audio_transcription.completed")
        print("caller:", events[-1].transcript)
        events = await until(connection, "response.output_audio.delta")
        await speaking
        delta = events[-1]
        await asyncio.sleep(0.5)
        await connection.response.cancel()
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=400)
        events = await until(connection, "response.done")
        print("agent, interrupted:", events[-1].response.status, events[-1].response.output[0].content)
        assert events[-1].response.status == "cancelled"
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"turn_detection": None, "format": {"type": "audio/pcm", "rate": 24000}}},
            }
        )
        await until(connection, "session.updated")
        await connection.input_audio_buffer.append(audio=base64.b64encode(SPEECH).decode())  # the whole file at once
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done", 60)
        text = "".join(each.transcript for each in of(events, "conversation.item.input_audio_transcription.completed"))
        audio = b"".join(base64.b64decode(each.delta) for each in of(events, "response.output_audio.delta"))
        print("caller:", text)
        print("agent:", events[-1].response.output[0].content[0].transcript, f"{len(audio) / 48000:.1f} s")
        assert len(audio) > 24000
        assert events[-1].response.status == "completed"


asyncio.run(main())
print("ok")
