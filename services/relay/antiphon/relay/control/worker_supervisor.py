"""The forwarding workers' lives: told, asked, replaced when they die, ended with us."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from antiphon.relay.control.ipc import MAX_LINE, Ask, Find, Found, IpcMessage, Ready, Statistics, pack, unpack
from antiphon.relay.control.worker_pool import WorkerPool, WorkerProcess
from antiphon.relay.counters import Counters

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 0.5
SHORT_LIFE_SECONDS: Final = 5.0
"""Workers that die younger, one after the other, are replaced only after a pause."""
PAUSE_SECONDS: Final = 1.0
END_SECONDS: Final = 1.0

MAX_QUESTIONS: Final = 256
"""Questions of workers that wait to be looked up; those above it are dropped, and with them what the worker holds."""

PacketPath = Literal["batched", "portable", "none"]


class Question(NamedTuple):
    """A worker asks for the owner of a client; `reply` sends it the answer, if it still runs."""

    client: int
    reply: Callable[[Found], None]


class _Place:
    """One worker's place: whoever holds it now, and what is said to them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.began = _process_began()
        """When its holder was started, by `time.monotonic`: the first one with this whole process."""
        self.process: WorkerProcess | None = None
        self.path: PacketPath = "none"
        self.answer: asyncio.Future[Counters] | None = None
        self.writer: asyncio.StreamWriter | None = None

    def say(self, word: IpcMessage) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(pack(word))


class WorkerSupervisor:
    """Keeps a crew complete; `run` until cancelled."""

    def __init__(self, crew: WorkerPool) -> None:
        self._crew = crew
        self.questions: asyncio.Queue[Question] = asyncio.Queue(MAX_QUESTIONS)
        """What workers ask; the NATS client takes them out."""
        self._places = [_Place(number) for number in range(len(crew.workers))]
        self._asking = asyncio.Lock()
        self.restarts = 0

    @property
    def path(self) -> PacketPath:
        """The loop of the workers that are up."""
        return next((place.path for place in self._places if place.path != "none"), "none")

    @property
    def complete(self) -> bool:
        """Every worker is up."""
        return all(place.path != "none" for place in self._places)

    async def run(self) -> None:
        """Keep the workers alive."""
        async with asyncio.TaskGroup() as tasks:
            for place in self._places:
                tasks.create_task(self._keep(place, self._crew.workers[place.number]))

    def tell(self, word: IpcMessage) -> None:
        """Tell every worker. What a worker must know from its start is told by the crew."""
        for place in self._places:
            place.say(word)

    def hand_over(self) -> None:
        """Give the workers the public sockets that were bound after they had started."""
        for place in self._places:
            if place.process is not None:
                place.process.hand_over(self._crew.public[place.number])

    async def statistics(self) -> list[Counters]:
        """The workers' counters; without those who don't answer within half a second."""
        async with self._asking:
            futures = []
            for place in self._places:
                place.answer = asyncio.get_running_loop().create_future()
                futures.append(place.answer)
                place.say(Ask())
            done, _ = await asyncio.wait(futures, timeout=ANSWER_SECONDS)
            for place in self._places:
                place.answer = None
            return [each.result() for each in done]

    async def _keep(self, place: _Place, process: WorkerProcess) -> None:
        short_lives = 0
        while True:
            began = time.monotonic()
            status = await self._one_life(place, process)
            self.restarts += 1
            log.error("forwarding worker %d died with status %s: starting another", place.number, status)
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE_SECONDS else 0
            if short_lives > 1:
                await asyncio.sleep(PAUSE_SECONDS)
            process = await self._hire(place)

    async def _hire(self, place: _Place) -> WorkerProcess:
        """Another process, as soon as the system gives us one: the other workers go on meanwhile."""
        while True:
            place.began = time.monotonic()
            try:
                return self._crew.hire(place.number)
            except OSError as error:
                log.error("forwarding worker %d can't be replaced yet: %s", place.number, error.strerror)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _one_life(self, place: _Place, process: WorkerProcess) -> int | None:
        place.process = process
        try:
            reader, place.writer = await asyncio.open_connection(sock=process.control, limit=MAX_LINE)
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    self._hear(place, line)
            return await _ended(process)
        finally:
            place.path, place.process = "none", None
            if place.writer is not None:
                place.writer.close()  # tells the worker to end, if it is not it that did
                place.writer = None
            process.end()
            if await _ended(process) is None:
                process.kill()

    def _hear(self, place: _Place, line: bytes) -> None:
        match unpack(line):
            case Ready(path, reason, at):
                place.path = "batched" if path == "batched" else "portable"
                after = (at - place.began) * 1000
                why = f": {reason}" if reason else ""
                log.info("worker %d forwards by the %s loop, %.0f ms after its start%s", place.number, path, after, why)
            case Find(client):
                with contextlib.suppress(asyncio.QueueFull):
                    self.questions.put_nowait(Question(client, place.say))
            case Statistics(values) if place.answer is not None and not place.answer.done():
                place.answer.set_result(Counters.of(values))


def _process_began() -> float:
    """When the system started this process, by `time.monotonic`; now, where it does not say."""
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
