"""Model work off the event loop: a few threads, a bounded queue, the most urgent first.

Policy: what a caller waits for now (the last transcription of a turn, the first clause of a reply) goes before
what he will wait for later (further clauses), and that before what may be for nothing (transcribing in the
hope that the turn is over). A running job can't be set aside and a long sentence takes half a second, so one
thread is kept free of all but the urgent. Within a class it is first come, first served, and a call has at
most one job of a kind waiting, so no call starves another. When the queue is full the least urgent waiting
job is given up: its waiter gets `BusyError`.

On Linux the threads run at a lower priority than the event loop, so that on a busy machine a model waits
for a frame and never the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_NICENESS: Final = 5


class Urgency(IntEnum):
    """Lower goes first."""

    NOW = 0
    SOON = 1
    MAYBE = 2


class BusyError(Exception):
    """The machine has more model work than it can do; this job was given up."""


class Job(Generic[T]):
    """A piece of model work. Await it for its result; it may be cancelled while it waits."""

    def __init__(self, work: Callable[[], T], urgency: Urgency, order: int, pool: ModelThreads) -> None:
        self.urgency = urgency
        self.order = order
        self.work_ms = 0.0
        """What the work itself took, without waiting."""
        self._work = work
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()
        self.future.add_done_callback(self._on_done)

    def __await__(self) -> Generator[Any, None, T]:
        return self.future.__await__()

    def promote(self, urgency: Urgency) -> None:
        """Somebody waits for it now."""
        self._pool.promote(self, urgency)

    def cancel(self) -> None:
        """Nobody wants it: it is taken out of the queue; if it runs already, its result is ignored."""
        self.future.cancel()

    def _on_done(self, future: asyncio.Future[T]) -> None:
        if future.cancelled():
            self._pool.withdraw(self)
        else:
            future.exception()  # one that nobody waits for any more is no error

    def run(self) -> None:
        started = time.perf_counter()
        try:
            result, error = self._work(), None
        except Exception as failure:  # whatever a model raises belongs to whoever waits for it
            result, error = None, failure
        self.work_ms = (time.perf_counter() - started) * 1000
        self.settle(result, error)

    def settle(self, result: T | None, error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: the process ends
            self._loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class ModelThreads:
    """The threads. `submit` is called on the event loop; `limit` bounds the jobs that wait."""

    def __init__(self, threads: int, limit: int) -> None:
        self._limit = limit
        self._waiting: list[Job[Any]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._closed = False
        self._patient = 0
        """Jobs under way that were not urgent when they were taken."""
        self._most_patient = max(1, threads - 1)
        for number in range(threads):
            threading.Thread(target=self._loop, name=f"model-{number}", daemon=True).start()

    def submit(self, work: Callable[[], T], urgency: Urgency) -> Job[T]:
        job = Job(work, urgency, next(self._order), self)
        given_up: Job[Any] | None = None
        with self._condition:
            self._waiting.append(job)
            if len(self._waiting) > self._limit:
                given_up = max(self._waiting, key=lambda j: (j.urgency, j.order))
                self._waiting.remove(given_up)
            self._condition.notify()
        if given_up:
            given_up.settle(None, BusyError(f"{self._limit} jobs wait for the models already"))
        return job

    def promote(self, job: Job[Any], urgency: Urgency) -> None:
        with self._condition:
            job.urgency = min(job.urgency, urgency)
            self._condition.notify()

    def withdraw(self, job: Job[Any]) -> None:
        with self._condition, contextlib.suppress(ValueError):
            self._waiting.remove(job)

    def close(self) -> None:
        """Threads end after the job they are at; they are daemons, so the process need not wait."""
        with self._condition:
            self._closed = True
            for job in self._waiting:
                job.future.cancel()
            self._waiting.clear()
            self._condition.notify_all()

    def _loop(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._next() is not None)
                job = self._next()
                if self._closed or job is None:
                    return
                self._waiting.remove(job)
                patient = job.urgency is not Urgency.NOW
                self._patient += patient
            job.run()
            with self._condition:
                self._patient -= patient
                self._condition.notify_all()

    def _next(self) -> Job[Any] | None:
        """The job to take; a linear search: the queue is short, and urgency changes while a job waits."""
        ready = [j for j in self._waiting if j.urgency is Urgency.NOW or self._patient < self._most_patient]
        return min(ready, key=lambda j: (j.urgency, j.order), default=None)
