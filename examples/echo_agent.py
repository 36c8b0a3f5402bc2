"""Says back what it receives, half a second later, while the caller still talks."""

from antiphon.agent import Agent, Session

agent = Agent("echo")
HALF_A_SECOND = bytes(24000)  # of 16-bit samples at 24 kHz


@agent.session
async def echo(session: Session) -> None:
    async with session.speak(rate=24000) as speech:
        await speech.write(HALF_A_SECOND)
        async for frame in session.audio(rate=24000):
            await speech.write(frame.pcm)


if __name__ == "__main__":
    agent.run()
