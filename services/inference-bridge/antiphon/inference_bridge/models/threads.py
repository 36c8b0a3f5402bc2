"""Model work off the event loop: a few threads, a bounded queue, the most urgent first.

Policy: what a caller waits for now (the last transcription of a turn, the first clause of a reply) goes before
what the caller will wait for later (further clauses), and that before speculative work (transcribing before it is
known that the turn has ended). A running job can't be interrupted and a long sentence takes half a second, so one
thread is kept free for urgent jobs. Within a class the call with the fewest running jobs goes first, then the one
whose last job began the longest ago, then first come, first served: however many jobs others let wait, a call waits for
the jobs that run and for one of each other call that waits. When the queue is full, the least urgent waiting job fails
with `BusyError`.

A job that is cancelled while it runs keeps its thread. So a client that asks for response after response, and cancels
each, would have all threads work for it. Therefore a call, named by `owner`, never takes the last thread while other
calls use the models: another call finds one that is free or works for a third one. At most `MAX_WAITING` jobs of a call
wait.

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
from collections import OrderedDict
from collections.abc import Callable, Generator
from enum import IntEnum
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from antiphon.inference_bridge.models.wasted_work import WastedWork

T = TypeVar("T")
_NICENESS: Final = 5
MAX_WAITING: Final = 8
"""Jobs of one owner; a turn of 60 s is three, and the clause under way one."""
SHARED_SECONDS: Final = 60.0
"""An owner counts as one that uses the models for so long after its last job."""
_MAX_OWNERS: Final = 1024


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

    def __init__(
        self, work: Callable[[], T], urgency: Urgency, order: int, threads: ModelThreads, owner: str = ""
    ) -> None:
        self.urgency = urgency
        self.owner = owner
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
        self._limit, self._threads = limit, threads
        self._waiting: list[Job[Any]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._closed = False
        self._running_patient = 0
        """Jobs that run and were not urgent when they began."""
        self._max_patient = max(1, threads - 1)
        self._running: dict[str, int] = {}
        """Jobs that run, by owner; those that nobody awaits any more too."""
        self._seen: OrderedDict[str, float] = OrderedDict()
        """Owners and the time of their last job, the latest behind."""
        self._served: OrderedDict[str, int] = OrderedDict()
        """Owners and the number of the last job of each that began, the latest behind."""
        self._begun = 0
        self._wasted = WastedWork()
        for number in range(threads):
            threading.Thread(target=self._loop, name=f"model-{number}", daemon=True).start()

    def submit(self, work: Callable[[], T], urgency: Urgency, owner: str = "") -> Job[T]:
        """Queue `work`, which one of the threads calls. `owner`: the call that it is for; empty: none.

        When too many jobs wait, in all or of this owner, the least urgent of them gets `BusyError`.
        """
        job = Job(work, urgency, next(self._order), self, owner)
        dropped: list[tuple[Job[Any], str]] = []
        with self._condition:
            self._waiting.append(job)
            if owner:
                self._seen[owner] = time.monotonic()
                self._seen.move_to_end(owner)
                if len(self._seen) > _MAX_OWNERS:
                    self._seen.popitem(last=False)
                own = [waiting for waiting in self._waiting if waiting.owner == owner]
                if len(own) > MAX_WAITING:
                    dropped.append((self._drop(own), f"{MAX_WAITING} jobs of this call wait for the models already"))
            if len(self._waiting) > self._limit:
                text = f"{self._limit} jobs wait for the models already"
                dropped.append((self._drop(self._waiting), text))
            self._condition.notify()
        for lost, text in dropped:
            lost.finish(None, BusyError(text))
        return job

    @property
    def has_room(self) -> bool:
        """A job that is not urgent would begin at once, and leave a thread free."""
        with self._condition:
            return not self._waiting and sum(self._running.values()) < self._max_patient

    @property
    def running(self) -> int:
        """Jobs that run."""
        with self._condition:
            return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        with self._condition:
            return len(self._waiting)

    def _drop(self, jobs: list[Job[Any]]) -> Job[Any]:
        """The one of these that is the least urgent, and the latest, no longer waits."""
        lost = max(jobs, key=lambda job: (job.urgency, job.order))
        self._waiting.remove(lost)
        return lost

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
                while (job := self._next()) is None and not self._closed:
                    self._condition.wait(self._rest())
                if self._closed or job is None:
                    return
                self._waiting.remove(job)
                patient = job.urgency is not Urgency.NOW
                self._running_patient += patient
                self._running[job.owner] = self._running.get(job.owner, 0) + 1
                self._serve(job.owner)
            job.run()
            with self._condition:
                if job.owner and job.future.cancelled():
                    self._wasted.spend(job.owner, job.work_ms / 1000, time.monotonic())
                self._running_patient -= patient
                self._running[job.owner] -= 1
                if not self._running[job.owner]:
                    del self._running[job.owner]
                self._condition.notify_all()

    def _serve(self, owner: str) -> None:
        if owner:
            self._begun += 1
            self._served[owner] = self._begun
            self._served.move_to_end(owner)
            if len(self._served) > _MAX_OWNERS:
                self._served.popitem(last=False)

    def _next(self) -> Job[Any] | None:
        """The job to take; a linear search: the queue is short, and urgency changes while a job waits."""
        if not self._waiting:
            return None
        most, now = self._most_of_one_owner(), time.monotonic()
        ready = [
            job
            for job in self._waiting
            if (job.urgency is Urgency.NOW or self._running_patient < self._max_patient)
            and (
                not job.owner
                or (self._running.get(job.owner, 0) < most and self._wasted.free_at(job.owner, now) <= now)
            )
        ]
        return min(ready, key=self._rank, default=None)

    def _rest(self) -> float | None:
        """Seconds until the first waiting job may begin whose owner has wasted too much; None: there is none."""
        now = time.monotonic()
        rests = [rest for job in self._waiting if (rest := self._wasted.free_at(job.owner, now) - now) > 0]
        return min(rests, default=None)

    def _rank(self, job: Job[Any]) -> tuple[int, int, int, int]:
        return job.urgency, self._running.get(job.owner, 0), self._served.get(job.owner, 0), job.order

    def _most_of_one_owner(self) -> int:
        """Threads that may work for one owner at a time; all of them if no other uses the models."""
        latest = list(islice(reversed(self._seen.values()), 2))
        shared = len(latest) == 2 and latest[1] >= time.monotonic() - SHARED_SECONDS
        return max(1, self._threads - 1) if shared else self._threads
