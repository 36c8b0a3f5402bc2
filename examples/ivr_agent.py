"""A telephone menu: prompts, keys, and a key press cuts the prompt short.

Prompts are WAV files (16 bit, mono) in the directory PROMPTS, such as prompts/menu.wav; one that is missing is a beep.
"""

import asyncio
import os
import wave
from pathlib import Path

from antiphon.agent import Agent, Session, TelephoneEvent

PROMPTS = Path(os.environ.get("PROMPTS", "prompts"))
BEEP = b"".join((6000 if n // 25 % 2 else -6000).to_bytes(2, "little", signed=True) for n in range(12000))
PATIENCE = 10.0
HUNG_UP = ""

agent = Agent("ivr", detect_speech=False)


async def play(session: Session, name: str) -> None:
    pcm, rate = BEEP, 24000
    if (PROMPTS / f"{name}.wav").is_file():
        with wave.open(str(PROMPTS / f"{name}.wav")) as file:
            pcm, rate = file.readframes(file.getnframes()), file.getframerate()
    await session.say(pcm, name, rate)


async def ask(session: Session, keys: asyncio.Queue[str], prompt: str, length: int = 1) -> str:
    """Play a prompt and collect keys, up to `length` or `#`; empty if none is pressed, or the caller has hung up."""
    saying = session.start(play(session, prompt))
    pressed = ""
    while len(pressed) < length:
        try:
            async with asyncio.timeout(PATIENCE):
                key = await keys.get()
        except TimeoutError:
            break
        saying.cancel()  # the prompt is silent within 20 ms
        if key in ("#", HUNG_UP):
            break
        pressed += key
    await asyncio.wait([saying])
    return pressed


@agent.session
async def menu(session: Session) -> None:
    keys: asyncio.Queue[str] = asyncio.Queue(32)

    async def listen() -> None:
        async for event in session.events():
            if isinstance(event, TelephoneEvent) and not keys.full():
                keys.put_nowait(event.key)
        await keys.put(HUNG_UP)  # whoever waits for a key waits no more

    session.start(listen())
    for _ in range(3):
        choice = await ask(session, keys, "menu")
        if session.over.is_set():
            return
        if choice == "1":
            number = await ask(session, keys, "account-number", length=8)
            await session.send({"type": "ivr.account", "number": number})
            await play(session, "thank-you")
            return
        if choice == "2":
            await play(session, "opening-hours")
            return
    await play(session, "goodbye")


if __name__ == "__main__":
    agent.run()
