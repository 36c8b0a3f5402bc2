"""Supervision of the forwarding workers: messages to and from them, their counters, a new process for a dead one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from antiphon.relay.control.ipc import (
    MAX_LINE,
    Ask,
    Busy,
    Find,
    Found,
    IpcMessage,
    Ready,
    RoundTrips,
    Statistics,
    pack,
    unpack,
)
from antiphon.relay.control.worker_pool import WorkerPool, WorkerProcess
from antiphon.relay.counters import Counters

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 0.5
SHORT_LIFE_SECONDS: Final = 5.0
"""Workers that die sooner, one after the other, are replaced only after a pause."""
PAUSE_SECONDS: Final = 1.0
SPARE_EVERY: Final = 1.0
"""Seconds between two looks at whether a spare process waits: it takes no time from a start, and is no way around the
pause above."""
END_SECONDS: Final = 1.0

MAX_QUESTIONS: Final = 256
"""Questions of workers that wait to be looked up; those above it are dropped, and with them what the worker holds."""

PacketPath = Literal["batched", "portable", "none"]


class Question(NamedTuple):
    """A worker asks for the owner of a client; `reply` sends it the answer, if it still runs."""

    client: int
    reply: Callable[[Found], None]


class _WorkerRecord:
    """One worker by number: the process that runs as it now, and the connection to that process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.began = _process_began()
        """When its process was started, by `time.monotonic`: the first one together with this process."""
        self.process: WorkerProcess | None = None
        self.path: PacketPath = "none"
        self.answer: asyncio.Future[Counters] | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.round_trips = RoundTrips({}, [])
        """What its hellos to other relays have measured last."""

    def send(self, message: IpcMessage) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(pack(message))


class WorkerSupervisor:
    """Keeps every worker of the pool running: `run` until cancelled.

    Belongs to `Control`; its callers are on the event loop of the control process.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self.questions: asyncio.Queue[Question] = asyncio.Queue(MAX_QUESTIONS)
        """What workers ask; the NATS client takes them out."""
        self._records = [_WorkerRecord(number) for number in range(len(pool.workers))]
        self._asking = asyncio.Lock()
        self.restarts = 0

    @property
    def path(self) -> PacketPath:
        """The loop of the workers that are up."""
        return next((record.path for record in self._records if record.path != "none"), "none")

    @property
    def all_up(self) -> bool:
        """Every worker is up."""
        return all(record.path != "none" for record in self._records)

    @property
    def round_trips(self) -> dict[int, float]:
        """Cluster -> milliseconds to the nearest of its relays: the least that a worker has measured."""
        nearest: dict[int, float] = {}
        for record in self._records:
            for cluster, ms in record.round_trips.by_cluster.items():
                nearest[cluster] = min(ms, nearest.get(cluster, ms))
        return nearest

    @property
    def relays_out(self) -> list[str]:
        """Names of the relays that do not answer the hellos of a worker."""
        return sorted({name for record in self._records for name in record.round_trips.out})

    async def run(self) -> None:
        """Keep the workers alive."""
        async with asyncio.TaskGroup() as tasks:
            for record in self._records:
                tasks.create_task(self._keep_running(record, self._pool.workers[record.number]))
            tasks.create_task(self._keep_spare())

    async def _keep_spare(self) -> None:
        """Keep one process that has imported what a worker needs: it takes a dead one's place 0.2 s sooner."""
        while True:
            await asyncio.sleep(SPARE_EVERY)
            if self.all_up:
                try:
                    self._pool.prepare_spare()
                except OSError as error:
                    log.warning("no spare forwarding worker can be started: %s", error.strerror)

    def send_to_all(self, message: IpcMessage) -> None:
        """Send a message to every worker that runs. The pool sends a new one what it needs from its start."""
        for record in self._records:
            record.send(message)

    def hand_over(self) -> None:
        """Give the workers the public sockets that were bound after they had started."""
        for record in self._records:
            if record.process is not None:
                record.process.hand_over(self._pool.public[record.number])

    async def statistics(self) -> list[Counters]:
        """The workers' counters, without those of workers that don't answer within half a second."""
        async with self._asking:
            futures = []
            for record in self._records:
                record.answer = asyncio.get_running_loop().create_future()
                futures.append(record.answer)
                record.send(Ask())
            done, _ = await asyncio.wait(futures, timeout=ANSWER_SECONDS)
            for record in self._records:
                record.answer = None
            return [each.result() for each in done]

    async def _keep_running(self, record: _WorkerRecord, process: WorkerProcess) -> None:
        short_lives = 0
        while True:
            began = time.monotonic()
            status = await self._run_once(record, process)
            self.restarts += 1
            log.error("forwarding worker %d died with status %s: starting another", record.number, status)
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE_SECONDS else 0
            if short_lives > 1 and not self._pool.has_spare:
                await asyncio.sleep(PAUSE_SECONDS)
            process = await self._start_again(record)

    async def _start_again(self, record: _WorkerRecord) -> WorkerProcess:
        """Start a process in place of one that died, as soon as the system has the resources."""
        while True:
            record.began = time.monotonic()
            try:
                return self._pool.start_worker(record.number)
            except OSError as error:
                log.error("forwarding worker %d can't be replaced yet: %s", record.number, error.strerror)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _run_once(self, record: _WorkerRecord, process: WorkerProcess) -> int | None:
        record.process = process
        try:
            reader, record.writer = await asyncio.open_connection(sock=process.control, limit=MAX_LINE)
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    self._on_message(record, line)
            return await _ended(process)
        finally:
            record.path, record.process = "none", None
            record.round_trips = RoundTrips({}, [])
            if record.writer is not None:
                record.writer.close()  # ends the worker, if it has not ended
                record.writer = None
            process.end()
            if await _ended(process) is None:
                process.kill()

    def _on_message(self, record: _WorkerRecord, line: bytes) -> None:
        match unpack(line):
            case Ready(path, reason, at):
                record.path = "batched" if path == "batched" else "portable"
                after = (at - record.began) * 1000
                why = f": {reason}" if reason else ""
                log.info(
                    "worker %d forwards by the %s loop, %.0f ms after its start%s", record.number, path, after, why
                )
            case Find(client):
                with contextlib.suppress(asyncio.QueueFull):
                    self.questions.put_nowait(Question(client, record.send))
            case RoundTrips() as measured:
                before = self.relays_out
                record.round_trips = measured
                _log_changes(set(before), set(self.relays_out))
            case Busy() as busy:
                for other in self._records:
                    if other is not record:
                        other.send(busy)
            case Statistics(values) if record.answer is not None and not record.answer.done():
                record.answer.set_result(Counters.of(values))


def _log_changes(before: set[str], after: set[str]) -> None:
    """Which relays have gone and come, in one line each time: hundreds may go together with their region."""
    if gone := sorted(after - before):
        log.warning("no answer of %d relays over the backbone: %.500s", len(gone), ", ".join(gone))
    if back := sorted(before - after):
        log.info("%d relays answer again, or are announced no more: %.500s", len(back), ", ".join(back))


def _process_began() -> float:
    """When the system started this process, by `time.monotonic`; now, where it does not tell."""
    now = time.monotonic()
    try:
        ticks = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return now - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError):
        return now


async def _ended(process: WorkerProcess) -> int | None:
    """The exit status of a worker that is ending; None if it doesn't."""
    deadline = time.monotonic() + END_SECONDS
    while (status := process.status()) is None and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return status
