"""Callers at the fourth place: what a call's voice does meanwhile, measured at the client."""

from __future__ import annotations

import asyncio
import json
import statistics
from itertools import pairwise
from typing import Final, NamedTuple

from chaos.calls import is_audible, tone

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError
from antiphon.runtime import tasks
from antiphon.schemas.addresses import Address

SPEECH: Final = tone(120.0)
SPOKEN_AGAIN: Final = 100.0
"""Seconds after which it is queued again."""
NUMBERS_EVERY: Final = 0.1


class Way(NamedTuple):
    """What a caller asks for. A value."""

    region: str | None = None
    """Served there; None: where it is nearest to signaling."""
    relay: Address | None = None
    """Enters there; None: at the first of the answer."""
    copy: bool = False


OWN_WAY: Final = Way()


class FarCall:
    """One caller who speaks all the time and receives the own voice. From `place` to `close`; of one loop."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.peer = Peer(self.listener.audio, self.listener.message)
        self.answered_after = 0.0
        """From the offer to the first audible frame."""
        self.numbered = 0
        """Messages that were sent, numbered from 0."""
        self._loop = asyncio.get_running_loop()
        self._talking: asyncio.Task[None] | None = None

    async def _talk(self) -> None:
        """Speech without an end, and a numbered message ten times a second."""
        spoken_at = -SPOKEN_AGAIN
        while True:
            if self._loop.time() - spoken_at >= SPOKEN_AGAIN:
                spoken_at = self._loop.time()
                self.peer.speak(SPEECH)
            if self.peer.channel_open.is_set():
                self.peer.send_text(json.dumps({"type": "number", "number": self.numbered}))
                self.numbered += 1
            await asyncio.sleep(NUMBERS_EVERY)

    def _answers(self) -> list[tuple[int, object]]:
        """(number, who answered), in the order in which they came."""
        events = [event for event in self.listener.events if event.get("type") == "number"]
        return [(int(str(event["number"])), event["by"]) for event in events]

    def out_of_order(self) -> list[str]:
        """Answers of one agent that came after one to a later message, and answers of an agent that was replaced."""
        answers = self._answers()
        agents = list(dict.fromkeys(by for _, by in answers))
        return [
            f"{first[0]} of agent {agents.index(first[1])}, then {second[0]} of agent {agents.index(second[1])}"
            for first, second in pairwise(answers)
            if (first[1] == second[1] and first[0] >= second[0]) or agents.index(first[1]) > agents.index(second[1])
        ]

    def answered_twice(self) -> int:
        """Messages that two agents answered: what the first had received was not acknowledged when it died."""
        answers = self._answers()
        return len(answers) - len({number for number, _ in answers})

    def missing(self) -> int:
        """Messages without an answer, of those before the newest one that has one; all, if none has."""
        numbers = {number for number, _ in self._answers()}
        return max(numbers) + 1 - len(numbers) if numbers else self.numbered

    async def place(self, url: str, way: Way = OWN_WAY, within: float = 15.0) -> None:
        """Call the echo agent by this signaling, and be answered."""
        began = self._loop.time()
        await self.peer.connect(url, "echo", relay=way.relay, region=way.region, copy=way.copy)
        self._talking = self._loop.create_task(self._talk())
        async with asyncio.timeout(within):
            while self.listener.last_audible is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        self.answered_after = self._loop.time() - began

    def silence(self, since: float) -> float:
        """The longest one since this moment of the loop's clock, up to now."""
        audible = [at for at, pcm in self.listener.frames if at >= since and is_audible(pcm)]
        return max(second - first for first, second in pairwise([since, *audible, self._loop.time()]))

    def is_alive(self) -> bool:
        """The voice came within the last half second."""
        last = self.listener.last_audible
        return not self.peer.closed.is_set() and last is not None and self._loop.time() - last < 0.5

    async def back_within(self, seconds: float) -> bool:
        """Wait until the voice is there again, for at most so long, after it was away or should have been."""
        await asyncio.sleep(1.0)
        deadline = self._loop.time() + seconds
        while not self.is_alive():
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def close(self) -> None:
        if self._talking is not None:
            await tasks.end(self._talking)
        await self.peer.close()


async def placed(url: str, count: int, way: Way = OWN_WAY) -> list[FarCall]:
    """So many calls, one after the other: set-ups at once would measure the machine."""
    calls = []
    try:
        for _ in range(count):
            call = FarCall()
            calls.append(call)
            await call.place(url, way)
    except BaseException:
        await close(calls)
        raise
    return calls


async def close(calls: list[FarCall]) -> None:
    await asyncio.gather(*(call.close() for call in calls), return_exceptions=True)


async def new_call_after(url: str, patience: float, way: Way = OWN_WAY) -> float | None:
    """Seconds until a new call is answered, tried again and again; None if none is within `patience`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + patience:
        call = FarCall()
        try:
            await call.place(url, way, within=3)
            return loop.time() - began
        except (CallError, TimeoutError):
            await asyncio.sleep(0.1)
        finally:
            await call.close()
    return None


def median(values: list[float]) -> float:
    return statistics.median(values)
