"""Model work off the event loop: a few threads, a bounded queue, the most urgent first.

Policy: what a caller waits for now (the last transcription of a turn, the first clause of a reply) goes before
what the caller will wait for later (further clauses), and that before speculative work (transcribing before it is
known that the turn has ended). A running job can't be interrupted and a long sentence takes half a second, so one
thread is kept free for urgent jobs. Within a class it is first come, first served, and a call has at most one job of a
kind waiting, so no call starves another. When the queue is full, the least urgent waiting job fails with `BusyError`.

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
    """When a job's result is needed. Lower goes first."""

    NOW = 0
    """A caller waits for it."""
    SOON = 1
    """A caller will wait for it."""
    SPECULATIVE = 2
    """It may turn out to be useless."""


class BusyError(Exception):
    """The machine has more model work than it can do: this job was dropped from the queue."""


class Job(Generic[T]):
    """A piece of model work. Await it for its result, or for the exception that the work raised.

    Made by `ModelThreads.submit`; the call that submitted it owns it and uses it on the event loop, where it may be
    cancelled while it waits. One of the threads runs it.
    """

    def __init__(self, work: Callable[[], T], urgency: Urgency, order: int, threads: ModelThreads) -> None:
        self.urgency = urgency
        self.order = order
        self.work_ms = 0.0
        """What the work itself took, without waiting."""
        self._work = work
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()
        self.future.add_done_callback(self._on_done)

    def __await__(self) -> Generator[Any, None, T]:
        return self.future.__await__()

    def promote(self, urgency: Urgency) -> None:
        """A caller waits for it now. Does nothing to a job that runs already."""
        self._threads.promote(self, urgency)

    def cancel(self) -> None:
        """The result is not needed: the job leaves the queue; if it runs already, its result is ignored."""
        self.future.cancel()

    def _on_done(self, future: asyncio.Future[T]) -> None:
        if future.cancelled():
            self._threads.withdraw(self)
        else:
            future.exception()  # a failure that no call awaits any more is not reported by asyncio

    def run(self) -> None:
        """Do the work on the calling thread, one of the pool's, and hand the outcome to the event loop."""
        started = time.perf_counter()
        try:
            result, error = self._work(), None
        except Exception as failure:  # the call that awaits the job gets what the model raised
            result, error = None, failure
        self.work_ms = (time.perf_counter() - started) * 1000
        self.finish(result, error)

    def finish(self, result: T | None, error: Exception | None) -> None:
        """Set the result or the error; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: the process ends
            self._loop.call_soon_threadsafe(self._set, result, error)

    def _set(self, result: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class ModelThreads:
    """A pool of threads with one queue of jobs.

    Owned by the bridge or by a model worker, for the life of the process. Its methods are called on the event loop.
    """

    def __init__(self, threads: int, limit: int) -> None:
        """`limit`: jobs that may wait; a further one costs the least urgent of them its place."""
        self._limit = limit
        self._waiting: list[Job[Any]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._closed = False
        self._running_patient = 0
        """Jobs that run and were not urgent when they began."""
        self._max_patient = max(1, threads - 1)
        for number in range(threads):
            threading.Thread(target=self._loop, name=f"model-{number}", daemon=True).start()

    def submit(self, work: Callable[[], T], urgency: Urgency) -> Job[T]:
        """Queue `work`, which one of the threads calls. When the queue is full, one of the jobs gets `BusyError`."""
        job = Job(work, urgency, next(self._order), self)
        dropped: Job[Any] | None = None
        with self._condition:
            self._waiting.append(job)
            if len(self._waiting) > self._limit:
                dropped = max(self._waiting, key=lambda j: (j.urgency, j.order))
                self._waiting.remove(dropped)
            self._condition.notify()
        if dropped:
            dropped.finish(None, BusyError(f"{self._limit} jobs wait for the models already"))
        return job

    def promote(self, job: Job[Any], urgency: Urgency) -> None:
        """Make a waiting job more urgent, never less."""
        with self._condition:
            job.urgency = min(job.urgency, urgency)
            self._condition.notify()

    def withdraw(self, job: Job[Any]) -> None:
        """Take a job out of the queue, if it waits there."""
        with self._condition, contextlib.suppress(ValueError):
            self._waiting.remove(job)

    def close(self) -> None:
        """Cancel what waits; threads end after their present job. They are daemons, so the process need not wait."""
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
                self._running_patient += patient
            job.run()
            with self._condition:
                self._running_patient -= patient
                self._condition.notify_all()

    def _next(self) -> Job[Any] | None:
        """The job to take; a linear search: the queue is short, and urgency changes while a job waits."""
        ready = [j for j in self._waiting if j.urgency is Urgency.NOW or self._running_patient < self._max_patient]
        return min(ready, key=lambda j: (j.urgency, j.order), default=None)
