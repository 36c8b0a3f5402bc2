"""Full duplex, as an interpreter in a booth: speaks a second behind the caller, while listening on.

No turn, no end of speech, no interruption: two streams that do not wait for each other. `translate` is the place for
a speech-to-speech model; the one here raises the voice by an octave, so that it differs from an echo.
"""

from antiphon.agent import Agent, Session

RATE = 24000
PIECE = RATE * 2  # one second of 16-bit samples

agent = Agent("interpreter", input_rate=RATE)


def translate(pcm: bytes) -> bytes:
    """One second of speech (s16le mono at `RATE`) to one second of speech."""
    octave_up = memoryview(pcm).cast("h")[::2].tobytes()
    return octave_up * 2


@agent.session
async def interpret(session: Session) -> None:
    received = bytearray()
    async with session.speak(RATE) as speech:
        async for frame in session.audio(RATE):
            received += frame.pcm
            if len(received) >= PIECE:
                await speech.write(translate(bytes(received)))
                received.clear()


if __name__ == "__main__":
    agent.run()
