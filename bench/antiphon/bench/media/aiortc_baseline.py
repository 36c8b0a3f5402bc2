"""The aiortc baseline: aiortc as its examples use it, an echo on RTCPeerConnection. A process of its own for the bench.

    python -m antiphon.bench.media.aiortc_baseline     # one JSON line {"offer": SDP} in, one {"answer": SDP} out

Only the list of host addresses is replaced, so that nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


def _loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ["127.0.0.1"]


async def _answer(offer: str) -> tuple[RTCPeerConnection, str]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    def on_track(track: Any) -> None:
        connection.addTrack(track)

    connection.on("track", on_track)
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    answer = await connection.createAnswer()
    assert answer is not None
    await connection.setLocalDescription(answer)
    return connection, connection.localDescription.sdp


async def main() -> None:
    """Until stdin ends."""
    aioice.ice.get_host_addresses = _loopback
    connections = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        connection, answer = await _answer(json.loads(line)["offer"])
        connections.append(connection)
        print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
