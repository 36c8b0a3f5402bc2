"""What it costs to find a flow's owner: `ANTIPHON_RELAY_FIND=ask` among N transceivers, against `kv`.

    PYTHONPATH=tests python tests/relay/measure_owner_lookup.py

A real NATS server on loopback; a process with one connection per transceiver answers as `RelayLink` does. Per number of
transceivers five rounds of 200 look-ups each way, in turns: median time with its range over the rounds, and the CPU
time of all transceivers together.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from nats.aio.msg import Msg
from support.processes.nats import nats_server

from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import subjects, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import FlowFind, FlowOwner, decode, encode

TRANSCEIVERS = (1, 10, 50)
ROUNDS = 5
LOOKUPS = 200
CLIENTS = [Address("127.0.0.1", 10_000 + number) for number in range(ROUNDS * LOOKUPS)]


async def answer(url: str, transceivers: int) -> None:
    """Each transceiver owns the clients whose port is its slot, modulo their number."""

    async def serve(slot: int) -> None:
        client = await connection.connect(url, f"transceiver-{slot}")

        async def on_question(message: Msg) -> None:
            question = decode(message.data, FlowFind)
            if int(question.client.rpartition(":")[2]) % transceivers == slot:
                await message.respond(encode(FlowOwner(cluster=0, slot=slot, epoch=1)))

        await client.subscribe(subjects.FLOW_FIND, cb=on_question)
        await connection.flush(client)

    for slot in range(transceivers):
        await serve(slot)
    print("ready", flush=True)
    await asyncio.Event().wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, transceivers: int, pid: int) -> None:
    client = await connection.connect(url, "relay")
    bucket = await buckets.bucket(client.jetstream(), subjects.BUCKET_FLOWS)
    keys = {each: subjects.flow_key(tunnel.pack_header(each)) for each in CLIENTS}
    for each in CLIENTS:
        await bucket.put(keys[each], encode(FlowOwner(cluster=0, slot=each.port % transceivers, epoch=1)))

    async def ask(each: Address) -> bytes:
        question = encode(FlowFind(client=str(each), tcp=False))
        return (await client.request(subjects.FLOW_FIND, question, timeout=1)).data

    async def look_up(each: Address) -> bytes:
        return (await bucket.get(keys[each])).value or b""

    ways: dict[str, Callable[[Address], Awaitable[bytes]]] = {"ask": ask, "kv": look_up}
    times: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for start in range(0, len(CLIENTS), LOOKUPS):
        for way, find in ways.items():
            taken, cpu_before = [], cpu_seconds(pid)
            for each in CLIENTS[start : start + LOOKUPS]:
                before = time.perf_counter()
                owner = decode(await find(each), FlowOwner)
                taken.append((time.perf_counter() - before) * 1000)
                assert owner.slot == each.port % transceivers
            await asyncio.sleep(0.3)  # the transceivers that are not the owner have read the questions by then
            times[way].append(statistics.median(taken))
            cpu[way].append((cpu_seconds(pid) - cpu_before) / LOOKUPS * 1000)
    for way in ways:
        median, low, high = statistics.median(times[way]), min(times[way]), max(times[way])
        print(
            f"{transceivers:3} transceivers, {way:3}: {median:.2f} ms ({low:.2f} to {high:.2f}), "
            f"{statistics.median(cpu[way]):.2f} ms of their CPU"
        )
    await client.close()


def main() -> None:
    for transceivers in TRANSCEIVERS:
        with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory)) as url:
            command = [sys.executable, __file__, url, str(transceivers)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                try:
                    assert process.stdout is not None
                    process.stdout.readline()
                    asyncio.run(measure(url, transceivers, process.pid))
                finally:
                    process.terminate()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(answer(sys.argv[1], int(sys.argv[2])))
    else:
        main()
