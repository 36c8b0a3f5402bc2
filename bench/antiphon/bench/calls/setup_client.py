"""The calls of `antiphon bench setup` on the client's side of the path; run by `python -m`. A line of JSON per call."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any, Final

from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError
from antiphon.schemas.audio import AudioFrame

CHANNEL_WAIT: Final = 15.0
"""Seconds after the keys."""


async def call(url: str) -> dict[str, Any]:
    """Milliseconds of each step, as far as the call came: `bench.calls.setup` says what they are."""
    loop = asyncio.get_running_loop()
    found: dict[str, Any] = {}
    first_audio: list[float] = []

    def hear(frame: AudioFrame) -> None:
        if not first_audio and any(frame.pcm):
            first_audio.append(loop.time())

    peer = Peer(hear, lambda text: None)
    began = loop.time()
    try:
        await peer.connect(url)
        async with asyncio.timeout(CHANNEL_WAIT):
            await peer.channel_open.wait()
        opened = (loop.time() - began) * 1000
        found["channel"] = opened - peer.setup_ms
        found["channel_after_answer"] = opened - peer.answer_ms
        if first_audio:
            found["audio"] = (first_audio[0] - began) * 1000 - peer.answer_ms
    except CallError as error:
        found["error"] = str(error)
    except TimeoutError:
        found["error"] = "the data channel did not open"
    finally:
        await peer.close()  # a session that goes on talking takes time from the next ones
    if peer.answer_ms:
        found["http"] = peer.answer_ms
    if peer.checked_ms:
        found["ice"] = peer.checked_ms - peer.answer_ms
    if peer.connected.is_set() and not peer.failure:
        found["dtls"] = peer.setup_ms - peer.checked_ms
        found["setup"] = peer.setup_ms
    return found


async def main(url: str, calls: int, at_once: int) -> None:
    """So many calls, at most `at_once` of them at a time."""
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            print(json.dumps(await call(url)), flush=True)

    await asyncio.gather(*(one() for _ in range(calls)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("calls", type=int)
    parser.add_argument("at_once", type=int)
    args = parser.parse_args()
    asyncio.run(main(args.url, args.calls, args.at_once))
