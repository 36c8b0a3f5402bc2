"""An agent that speaks without end. Run in a pod: `python talker.py`."""

import math
from array import array

from antiphon.agent import Agent, Session

RATE = 24000
SECOND = array("h", (round(8000 * math.sin(2 * math.pi * 440 * n / RATE)) for n in range(RATE))).tobytes()

agent = Agent("talker")


@agent.session
async def talk(session: Session) -> None:
    async with session.speak(rate=RATE, ahead=2.0) as speech:
        while True:
            await speech.write(SECOND)


if __name__ == "__main__":
    agent.run()
