"""Callers that speak all the time and receive their own voice from the echo agent."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Final

import numpy as np
from support.processes.stack import Stack

from antiphon.cli.call.call_listener import AUDIBLE, Listener
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError

FORGOTTEN: Final = 60.0
"""Seconds after which received frames are forgotten: a caller may live for an hour."""


def tone(seconds: float) -> bytes:
    """440 Hz, s16le."""
    at = np.arange(int(seconds * RATE)) / RATE
    return bytes((np.sin(2 * np.pi * 440 * at) * 8000).astype("<i2").tobytes())


def is_audible(pcm: bytes) -> bool:
    """Whether a frame holds sound."""
    return bool(np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)).max() > AUDIBLE * 32768)


def longest_silence(listener: Listener, since: float, until: float) -> float:
    """Between two audible frames, or from the last one to the end."""
    audible = [at for at, pcm in listener.frames if at >= since and is_audible(pcm)]
    return max(second - first for first, second in pairwise([since, *audible, until]))


class Call:
    """One caller, from `place` to `close`."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.peer = Peer(self.listener.audio, self.listener.message)
        self._closed = False

    async def place(self, stack: Stack, seconds: float, within: float = 10.0) -> None:
        """Call the echo agent and speak for so long; returns when the own voice comes back."""
        await self.peer.connect(stack.url, "echo")
        self.peer.speak(tone(seconds))
        async with asyncio.timeout(within):
            while self.listener.last_audible is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def received_after(self, since: float) -> None:
        """Returns when a frame of the own voice has come after this moment of the loop's clock."""
        while (self.listener.last_audible or 0.0) <= since:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def ended(self) -> None:
        """Returns when the client knows that its call has ended: by its connection, or because the server says so."""
        while not self.peer.closed.is_set():
            status = await self.peer.fate()
            if status is not None and status.over:
                return
            await asyncio.sleep(0.2)

    def forget(self) -> None:
        """Drop old frames."""
        frames = self.listener.frames
        while frames and frames[0][0] < frames[-1][0] - FORGOTTEN:
            del frames[: len(frames) // 2 + 1]

    async def close(self) -> None:
        """Hang up; the second time nothing."""
        if not self._closed:
            self._closed = True
            await self.peer.close()

    async def vanish(self) -> None:
        """Be gone without a word."""
        await self.peer.vanish()


async def new_call(stack: Stack) -> None:
    """Try until a call comes about and its caller receives its own voice."""
    while True:
        call = Call()
        try:
            await call.place(stack, 3, within=3)
            return
        except (CallError, TimeoutError):
            await asyncio.sleep(0.1)
        finally:
            await call.close()
