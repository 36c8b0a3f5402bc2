"""Calls of our client for `antiphon bench prepared`, on its side of the path; run by `python -m`: lines of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError


async def call(url: str, key: str, prepared: bool) -> dict[str, Any]:
    """When it was to begin (Unix time in ms), and its name."""
    peer = Peer(lambda frame: None, lambda text: None)
    try:
        if prepared:
            await peer.prepare(url, key=key)
            await asyncio.sleep(0.3)
        clicked = time.time() * 1000
        await peer.connect(url, key=key)
        await asyncio.sleep(0.3)  # the microphone's first packet is at the server by then
        return {"id": peer.session_id, "clicked": clicked, "prepared": prepared, "used": peer.used_prepared}
    except CallError as error:
        return {"error": str(error)}
    finally:
        await peer.close()


async def main(url: str, key: str, calls: int) -> None:
    """So many of each kind, in turn."""
    for number in range(2 * calls):
        print(json.dumps(await call(url, key, number % 2 == 1)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("calls", type=int)
    args = parser.parse_args()
    asyncio.run(main(args.url, args.key, args.calls))
