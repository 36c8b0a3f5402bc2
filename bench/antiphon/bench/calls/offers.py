"""How long signaling itself takes for an offer, without its wait for the transceiver: many a second, all hung up.

All processes are real and on loopback: NATS, relay, one transceiver, signaling, an agent. Offers come at a fixed pace,
whatever the answers do. Signaling's own time is what the client waits for the answer, less what `Server-Timing` says
that signaling waited for the transceiver; so it includes the client's own delay on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from antiphon.bench._lib.proc import cpu_seconds
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench.calls.echo_agent import ECHO
from antiphon.bench.calls.own_stack import own_stack
from antiphon.cli.errors import UsageError

CONNECTIONS: Final = 60
"""Of one address signaling holds 64."""
PATIENCE: Final = 15.0
WARM_UP: Final = 1.0
"""Seconds of offers before the measured ones."""
_WAITED: Final = re.compile(r"transceiver;dur=([0-9.]+)")

OFFER: Final = "\r\n".join(
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=sctp-port:5000",
        "",
    ]
)


@dataclass
class Measured:
    """What became of the offers; times in ms."""

    own: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """How much later than planned an offer was sent: no connection was free, or this process was busy."""
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    hang_ups: Counter[int] = field(default_factory=Counter)


class _Connection:
    """One kept connection; used by one offer at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    async def request(self, method: str, path: str, body: str = "") -> tuple[int, dict[str, str]]:
        """Status and headers of the answer, and as `error` the message of one that refuses."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        self._writer.write(f"{head}{kind}\r\n{body}".encode())
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if value}
        answer = await self._reader.readexactly(int(headers.get("content-length", "0")))
        code = int(status.split(" ")[1])
        if code >= 400:
            headers["error"] = re.sub(r"[0-9.]+", "N", str(json.loads(answer)["error"]["message"]))
        return code, headers

    def close(self) -> None:
        self._writer.close()


async def _connect(url: str) -> _Connection:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    return _Connection(reader, writer, parts.netloc)


async def _one(free: asyncio.Queue[_Connection], planned: float, measured: Measured | None) -> None:
    connection = await free.get()
    began = time.perf_counter()
    status, headers = await connection.request("POST", "/v1/realtime/calls", OFFER)
    took = (time.perf_counter() - began) * 1000
    ended = (await connection.request("DELETE", headers["location"]))[0] if status == 201 else None
    free.put_nowait(connection)
    if measured is None:
        return
    measured.statuses[status] += 1
    if "error" in headers:
        measured.refusals[headers["error"]] += 1
    measured.late.append((began - planned) * 1000)
    if status == 201 and ended is not None:
        measured.hang_ups[ended] += 1
        found = _WAITED.search(headers.get("server-timing", ""))
        if found is None:
            raise UsageError("this signaling does not say in Server-Timing how long it waited for the transceiver")
        measured.waited.append(float(found[1]))
        measured.own.append(took - float(found[1]))


async def offers(url: str, rate: float, seconds: float) -> Measured:
    """Send them at this pace to the signaling at `url`."""
    measured = Measured()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    connections = [await _connect(url) for _ in range(CONNECTIONS)]
    for connection in connections:
        free.put_nowait(connection)
    try:
        began = time.perf_counter()
        async with asyncio.timeout(seconds + PATIENCE), asyncio.TaskGroup() as group:
            for number in range(round(rate * (WARM_UP + seconds))):
                planned = began + number / rate
                await asyncio.sleep(max(0.0, planned - time.perf_counter()))
                warm = number >= rate * WARM_UP
                group.create_task(_one(free, planned, measured if warm else None))
    except TimeoutError:
        raise UsageError(f"offers were not answered within {PATIENCE:.0f} s") from None
    finally:
        for connection in connections:
            connection.close()
    return measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=200.0, help="offers a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the measurement (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as directory, own_stack(Path(directory)) as stack:
        stack.relay()
        stack.transceiver()
        signaling = stack.signaling(ECHO)
        stack.echo()  # one that talks at once would send the transceiver 20,000 frames a second for calls that are over
        stack.until_healthy()
        before, began = cpu_seconds(signaling), time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            measured = asyncio.run(offers(stack.url, args.rate, args.seconds))
        cores = (cpu_seconds(signaling) - before) / (time.monotonic() - began)
    points = (50, 95, 99, 100)
    report = {
        "offers": sum(measured.statuses.values()),
        "statuses": {str(status): count for status, count in sorted(measured.statuses.items())},
        "refusals": dict(measured.refusals),
        "hang_ups": {str(status): count for status, count in sorted(measured.hang_ups.items())},
        "own_ms": percentiles(measured.own, points),
        "transceiver_ms": percentiles(measured.waited, points),
        "late_ms": percentiles(measured.late, points),
        "signaling_cores": round(cores, 2),
    }
    if args.json:
        print(json.dumps({"offers": report}))
    else:
        for name, value in report.items():
            print(f"{name:16} {value}")
    return 0
