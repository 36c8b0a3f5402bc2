"""One transceiver per core: a parent process that starts children, restarts them and passes its signals on to them.

Each child is a whole transceiver with a port, a slot and an announcement of its own; they share nothing. A
child that dies is started again, its slot with the next epoch; another one takes its calls over. The parent has
no media, no NATS connection and no session, and no child outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from typing import Final

from antiphon.transceiver.settings import Settings

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.25
"""Seconds before a child that died is started again; doubled with each further death."""
LONGEST_WAIT: Final = 5.0
HEALTHY_AFTER: Final = 10.0
"""Seconds after which the next death of a child counts as its first."""
PARENT: Final = "ANTIPHON_TRANSCEIVER_PARENT"
"""Environment variable by which a child knows that it is one: the parent's process id."""
PR_SET_PDEATHSIG: Final = 1
REFUSES_SETTINGS: Final = 2
"""Exit status of a child whose settings are unusable: it would end in the same way again."""


def tie_to_parent() -> None:
    """In a child: have the kernel send SIGTERM when the parent dies (Linux; elsewhere nothing happens)."""
    if not os.environ.get(PARENT):
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if is_orphan():  # it died before the setting was made
        os.kill(os.getpid(), signal.SIGTERM)


def is_orphan() -> bool:
    """Our parent is dead: no process would start us again, or end us."""
    parent = os.environ.get(PARENT, "")
    return parent.isdigit() and os.getppid() != int(parent)


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    running: dict[int, asyncio.subprocess.Process] = {}

    def stop(number: signal.Signals) -> None:
        stopping.set()
        for child in running.values():
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)  # a second one ends a drain

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.SIGTERM)
    watching = [
        asyncio.create_task(_watch(settings, n, running, stopping)) for n in range(settings.transceiver_processes)
    ]
    try:
        statuses = await asyncio.gather(*watching)
    finally:
        stop(signal.SIGTERM)
        await asyncio.gather(*watching, return_exceptions=True)
    return max(statuses)


async def _watch(
    settings: Settings, number: int, running: dict[int, asyncio.subprocess.Process], stopping: asyncio.Event
) -> int:
    wait = FIRST_WAIT
    loop = asyncio.get_running_loop()
    while not stopping.is_set():
        began = loop.time()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "antiphon.transceiver", env=os.environ | _environment(settings, number)
        )
        running[number] = child
        _pin(child.pid, number)
        if stopping.is_set():
            child.terminate()
        status = await child.wait()
        del running[number]
        if stopping.is_set() or status == REFUSES_SETTINGS:
            stopping.set()
            for other in running.values():
                with contextlib.suppress(ProcessLookupError):
                    other.terminate()
            return max(status, 0) if status != -signal.SIGTERM else 0
        wait = FIRST_WAIT if loop.time() - began > HEALTHY_AFTER else min(2 * wait, LONGEST_WAIT)
        log.error("transceiver process %d has ended with status %d: started again in %g s", number, status, wait)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stopping.wait()
    return 0


def _environment(settings: Settings, number: int) -> dict[str, str]:
    """Settings of child `number`: a single process; a fixed port or slot is counted up from the first child's."""
    changed = {"ANTIPHON_TRANSCEIVER_PROCESSES": "1", PARENT: str(os.getpid())}
    host, _, port = settings.transceiver_bind.rpartition(":")
    if int(port):
        changed["ANTIPHON_TRANSCEIVER_BIND"] = f"{host}:{int(port) + number}"
    if settings.slot is not None:
        changed["ANTIPHON_SLOT"] = str(settings.slot + number)
    return changed


def _pin(pid: int, number: int) -> None:
    """To one core each, where there are enough and the system permits it."""
    with contextlib.suppress(OSError, AttributeError):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[number % len(cores)]})
