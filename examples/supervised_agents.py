"""A supervisor listens to the calls of a text agent as its shadow, and whispers to it: the caller hears none of it.

Both run in this program. The shadow hears the caller's voice, which the text agent never does: a caller who shouts gets
a shorter answer. DESK_CREDENTIALS and SUPERVISOR_CREDENTIALS name the files with the credentials, where NATS asks for
them.
"""

import array
import asyncio
import os
from collections.abc import AsyncIterator

from antiphon.agent import Agent, Ended, ShadowSession, TextAgent, Turn

LOUD = 0.35
"""Of full scale, over a second."""

desk = TextAgent("desk", greeting="Front desk, good morning.")
supervisor = Agent("supervisor", shadow_of="desk", detect_speech=False)
whispers: dict[str, str] = {}
"""What the supervisor has said about a call, by its id; gone with the call."""


@supervisor.session
async def watch(session: ShadowSession) -> None:
    session.start(listen(session))
    async for event in session.events():
        if isinstance(event, Ended):
            break
    whispers.pop(session.id, None)


async def listen(session: ShadowSession) -> None:
    level = 0.0
    async for frame in session.audio():
        samples = array.array("h", frame.pcm)
        level += (max(map(abs, samples), default=0) / 32768 - level) / 50
        if level > LOUD:
            whispers[session.id] = "The caller is upset."


@desk.reply
async def reply(turn: Turn) -> AsyncIterator[str]:
    if turn.call_id in whispers:  # a language model would get it as a system message
        yield "I am sorry. I will have that solved for you at once."
    else:
        yield f"You said: {turn.text} Is there anything else that I can do for you today?"


async def main() -> None:
    async with (
        desk.serving(credentials=os.environ.get("DESK_CREDENTIALS", "")),
        supervisor.serving(credentials=os.environ.get("SUPERVISOR_CREDENTIALS", "")),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
