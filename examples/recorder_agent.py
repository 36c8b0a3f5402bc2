"""A shadow: records the callers of another agent, and what happens in their calls, without a part in them.

    AGENT=concierge RECORDINGS=recordings python recorder_agent.py

Each call becomes <session>.wav (the caller, with gaps filled by silence) and <session>.jsonl (a line per event).
"""

import dataclasses
import json
import os
import time
import wave
from pathlib import Path

from antiphon.agent import Agent, Event, ShadowSession

RECORDINGS = Path(os.environ.get("RECORDINGS", "recordings"))
RATE = 16000

agent = Agent("recorder", shadow_of=os.environ.get("AGENT", "concierge"))


def as_json(event: Event) -> str:
    fields = dataclasses.asdict(event) if dataclasses.is_dataclass(event) else event.model_dump(exclude_none=True)
    return json.dumps({"at": time.time(), "kind": type(event).__name__, **fields}, default=repr)


@agent.session
async def record(session: ShadowSession) -> None:
    session.start(write_events(session))
    with wave.open(str(RECORDINGS / f"{session.id}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        written = None
        async for frame in session.audio(rate=RATE):
            gap = 0 if written is None else frame.first_sample - written
            file.writeframes(bytes(2 * max(0, gap)) + frame.pcm)
            written = frame.first_sample + len(frame.pcm) // 2
    await session.over.wait()


async def write_events(session: ShadowSession) -> None:
    with (RECORDINGS / f"{session.id}.jsonl").open("w", buffering=1) as file:
        async for event in session.events():
            file.write(as_json(event) + "\n")


if __name__ == "__main__":
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    agent.run()
