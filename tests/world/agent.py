"""The world's light agent: says back what it receives, by voice a little later and by messages at once.

python agent.py [NAME]
"""

from __future__ import annotations

import json
import os
import sys

from antiphon.agent import Agent, DataReceived, Session

agent = Agent(sys.argv[1] if len(sys.argv) > 1 else "echo")
AHEAD = bytes(4800)
"""100 ms of 16-bit samples at 24 kHz."""


@agent.session
async def echo(session: Session) -> None:
    """Both until the call ends."""
    session.start(answer_messages(session), "messages")
    async with session.speak(rate=24000) as speech:
        await speech.write(AHEAD)
        async for frame in session.audio(rate=24000):
            await speech.write(frame.pcm)


async def answer_messages(session: Session) -> None:
    """In the order in which they come, with the number of our process."""
    async for event in session.events():
        if isinstance(event, DataReceived):
            await session.send({**json.loads(event.payload), "by": os.getpid()}, event.channel)


if __name__ == "__main__":
    agent.run()
