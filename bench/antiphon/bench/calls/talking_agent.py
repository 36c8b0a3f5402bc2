"""An agent that talks without end, for benches that measure when its speech stops and continues. Run by `python -m`."""

from __future__ import annotations

import math
from array import array
from typing import Final

from antiphon.agent import Agent, Session

TALKER: Final = "bench-talker"
_RATE: Final = 24000
_HERTZ: Final = 440
_SECOND: Final = array("h", (round(8000 * math.sin(2 * math.pi * _HERTZ * n / _RATE)) for n in range(_RATE))).tobytes()

agent = Agent(TALKER)


@agent.session
async def talk(session: Session) -> None:
    async with session.speak(rate=_RATE, ahead=2.0) as speech:
        while True:
            await speech.write(_SECOND)


if __name__ == "__main__":
    agent.run()
