"""What a killed relay costs a call under `antiphon up`: the longest time without a packet of the echo, aiortc.

    PYTHONPATH=tests python tests/faults/measure_relay_gap.py ROUNDS [control worker both again]

`again`: the worker once more, 0.5 s after a first one. Between two rounds the standby is ready and the relay has lived
for as long as it must for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import time

from support.conditions import until
from support.peers.aiortc_client import AiortcClient, aiortc_call
from support.processes.relay_process import workers_of
from support.processes.restarts import Restart
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.up.supervisor import SOUND_SECONDS

WHAT = ("control", "worker", "both", "again")
WINDOW = 2.0
AGAIN = 0.5


def _standbys(stack: Stack) -> int:
    return sum("a standby is ready" in line for line in stack.lines)


async def gap(stack: Stack, client: AiortcClient, what: str) -> float:
    """Seconds."""
    relay, ready = stack.pid_of("relay"), _standbys(stack)
    pids = {"control": [relay], "both": [relay, *workers_of(relay)[:1]]}.get(what, workers_of(relay)[:1])
    if what == "again":
        os.kill(pids[0], signal.SIGKILL)
        await asyncio.sleep(AGAIN)
        pids = workers_of(relay)[:1]
    killed = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(WINDOW)
    if what in ("control", "both"):
        await until(lambda: _standbys(stack) > ready, 30)
    await asyncio.sleep(SOUND_SECONDS)
    return Restart(killed, 0.0).gap_in(client.arrivals)


async def main(rounds: int, kinds: list[str]) -> None:
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as stack:
        async with aiortc_call(stack.url, "echo") as client:
            await until(lambda: _standbys(stack) > 0, 30)
            await asyncio.sleep(SOUND_SECONDS)
            for what in kinds:
                gaps = [await gap(stack, client, what) for _ in range(rounds)]
                told = " ".join(f"{each:.2f}" for each in gaps)
                print(f"{what}: median {statistics.median(gaps):.2f}, worst {max(gaps):.2f} s ({told})", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:] or list(WHAT)))
