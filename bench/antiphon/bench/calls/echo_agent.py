"""An agent that sends back what it receives, for benches of many calls. Run by `python -m`."""

from __future__ import annotations

from typing import Final

from antiphon.agent import Agent, Session

ECHO: Final = "bench-echo"
RATE: Final = 24000
CAPACITY: Final = 1000

agent = Agent(ECHO, capacity=CAPACITY)


@agent.session
async def echo(session: Session) -> None:
    async with session.speak(rate=RATE) as speech:
        async for frame in session.audio(rate=RATE):
            await speech.write(frame.pcm)


if __name__ == "__main__":
    agent.run()
