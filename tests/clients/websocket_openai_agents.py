"""A conversation over WebSocket by OpenAI's agents SDK for Python: `python websocket_openai_agents.py URL SPEECH.pcm`.

SPEECH.pcm: a question, s16le at 24 kHz. Exit status 0 if the agent has answered, with the tool that it was given where
it uses tools, and was interrupted by the caller's next question.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()


async def speak(session: RealtimeSession, pcm: bytes) -> None:
    for first in range(0, len(pcm), 4800):  # 100 ms, in real time
        await session.send_audio(pcm[first : first + 4800])
        await asyncio.sleep(0.1)


SETTINGS: Any = {"modalities": ["audio"], "turn_detection": {"type": "server_vad", "interrupt_response": True}}


async def main() -> None:
    runner = RealtimeRunner(
        RealtimeAgent(name="Assistant", instructions="Be brief."), config={"model_settings": SETTINGS}
    )
    url = URL.replace("http", "ws", 1) + "/v1/realtime?model=concierge"
    session = await runner.run(model_config={"api_key": "unused", "url": url})
    seen: dict[str, int] = {}
    audio, said = 0, 1
    async with session:
        speaking = asyncio.create_task(speak(session, bytes(9600) + SPEECH + bytes(96000)))
        async with asyncio.timeout(60):
            async for event in session:
                seen[event.type] = seen.get(event.type, 0) + 1
                if event.type == "error":
                    print("  error:", event.error)
                elif event.type == "audio":
                    audio += len(event.audio.data)
                    if said == 1 and speaking.done():  # into the agent's answer
                        said = 2
                        speaking = asyncio.create_task(speak(session, SPEECH + bytes(96000)))
                elif event.type == "agent_end" and said == 2 and seen.get("audio_interrupted") and speaking.done():
                    break
        await asyncio.sleep(1)
    print("events:", seen)
    print(f"audio: {audio / 48000:.1f} s")
    assert seen.get("audio_interrupted")
    assert audio > 48000


asyncio.run(main())
print("ok")
