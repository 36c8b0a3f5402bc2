"""Model work on threads: the urgent first, the rest bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from antiphon.inference_bridge.models import wasted_work
from antiphon.inference_bridge.models.threads import BusyError, Job, ModelThreads, Urgency
from antiphon.inference_bridge.models.wasted_work import FREE, MAX_OWNERS, REFILL, WastedWork

pytestmark = pytest.mark.pure


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds the only worker until it is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
async def workers(gate: threading.Event) -> ModelThreads:
    pool = ModelThreads(1, 4)
    started = threading.Event()

    def hold() -> None:
        started.set()
        gate.wait()

    pool.submit(hold, Urgency.NOW)
    await asyncio.to_thread(started.wait)
    return pool


def noting(into: list[str], name: str) -> Callable[[], str]:
    def work() -> str:
        into.append(name)
        return name

    return work


async def test_what_a_caller_waits_for_goes_first(workers: ModelThreads, gate: threading.Event) -> None:
    done: list[str] = []
    names = {"speculative": Urgency.SPECULATIVE, "soon": Urgency.SOON, "now": Urgency.NOW, "now too": Urgency.NOW}
    jobs = [workers.submit(noting(done, name), urgency) for name, urgency in names.items()]
    gate.set()
    await asyncio.gather(*(job.future for job in jobs))
    assert done == ["now", "now too", "soon", "speculative"]


async def test_a_job_that_became_urgent_overtakes(workers: ModelThreads, gate: threading.Event) -> None:
    done: list[str] = []
    speculative = workers.submit(noting(done, "speculative"), Urgency.SPECULATIVE)
    other = workers.submit(noting(done, "other"), Urgency.SOON)
    speculative.promote(Urgency.NOW)
    gate.set()
    assert await speculative == "speculative"
    await other
    assert done == ["speculative", "other"]


async def test_when_the_queue_is_full_the_least_urgent_is_given_up(
    workers: ModelThreads, gate: threading.Event
) -> None:
    done: list[str] = []
    speculative = workers.submit(noting(done, "speculative"), Urgency.SPECULATIVE)
    jobs = [workers.submit(noting(done, str(n)), Urgency.NOW) for n in range(4)]
    with pytest.raises(BusyError):
        await speculative
    gate.set()
    await asyncio.gather(*(job.future for job in jobs))
    assert done == ["0", "1", "2", "3"]


async def test_a_cancelled_job_is_not_run(workers: ModelThreads, gate: threading.Event) -> None:
    done: list[str] = []
    jobs: list[Job[str]] = [workers.submit(noting(done, name), Urgency.NOW) for name in ("dropped", "kept")]
    jobs[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    await jobs[1]
    assert done == ["kept"]


async def test_what_a_model_raises_reaches_whoever_waits(workers: ModelThreads, gate: threading.Event) -> None:
    def broken() -> None:
        raise ValueError("no such phoneme")

    job = workers.submit(broken, Urgency.NOW)
    gate.set()
    with pytest.raises(ValueError, match="no such phoneme"):
        await job
    assert await workers.submit(lambda: 1, Urgency.NOW) == 1


async def test_one_thread_is_kept_for_what_is_urgent(gate: threading.Event) -> None:
    pool = ModelThreads(2, 4)
    started = threading.Event()

    def hold() -> None:
        started.set()
        gate.wait()

    patient = [pool.submit(hold, Urgency.SOON) for _ in range(2)]
    await asyncio.to_thread(started.wait)
    assert await asyncio.wait_for(pool.submit(lambda: "now", Urgency.NOW).future, 10) == "now"
    gate.set()
    await asyncio.gather(*(job.future for job in patient))


async def test_one_call_never_has_all_threads_while_others_use_the_models(gate: threading.Event) -> None:
    pool = ModelThreads(2, 64)
    await pool.submit(lambda: None, Urgency.NOW, "victim")
    started = threading.Event()

    def hold() -> None:
        started.set()
        gate.wait()

    for _ in range(100):  # a storm of responses, each cancelled: what runs keeps its thread
        job = pool.submit(hold, Urgency.NOW, "flood")
        await asyncio.to_thread(started.wait)
        job.cancel()
    await asyncio.sleep(0)
    waits = [pool.submit(hold, Urgency.NOW, "flood") for _ in range(8)]
    assert await asyncio.wait_for(pool.submit(lambda: "here", Urgency.NOW, "victim").future, 4) == "here"
    assert not any(job.future.done() for job in waits)


async def test_a_call_that_is_alone_has_all_threads(gate: threading.Event) -> None:
    pool = ModelThreads(2, 64)
    holding = pool.submit(gate.wait, Urgency.NOW, "alone")
    assert await asyncio.wait_for(pool.submit(lambda: "here", Urgency.NOW, "alone").future, 4) == "here"
    holding.cancel()


async def test_no_more_than_eight_jobs_of_a_call_wait(workers: ModelThreads, gate: threading.Event) -> None:
    pool = ModelThreads(1, 1000)
    pool.submit(gate.wait, Urgency.NOW)
    jobs = [pool.submit(lambda: 1, Urgency.NOW, "flood") for _ in range(40)]
    other = pool.submit(lambda: 2, Urgency.NOW, "victim")
    gate.set()
    assert await asyncio.wait_for(other.future, 4) == 2
    done = await asyncio.wait_for(asyncio.gather(*(job.future for job in jobs), return_exceptions=True), 4)
    assert sum(isinstance(result, BusyError) for result in done) >= 31


async def test_a_third_call_waits_for_one_job_of_two_that_let_many_wait() -> None:
    pool, gates, began = ModelThreads(2, 100), [threading.Event(), threading.Event()], threading.Semaphore(0)
    done: list[str] = []

    def hold(gate: threading.Event) -> Callable[[], None]:
        def work() -> None:
            began.release()
            gate.wait()

        return work

    held = [pool.submit(hold(gate), Urgency.NOW, owner) for gate, owner in zip(gates, ("first", "second"), strict=True)]
    for _ in held:
        await asyncio.to_thread(began.acquire)
    jobs = [pool.submit(noting(done, name), Urgency.NOW, name) for name in ("first", "second") for _ in range(5)]
    jobs.append(pool.submit(noting(done, "third"), Urgency.NOW, "third"))
    gates[0].set()  # the other thread is held all the time
    await jobs[-1]
    assert done[0] == "third"
    gates[1].set()
    await asyncio.gather(*(job.future for job in jobs))
    pool.close()


def test_a_call_may_waste_some_work_and_then_waits_until_it_has_allowance_again() -> None:
    wasted = WastedWork()
    assert wasted.free_at("one", 0.0) == 0.0
    for _ in range(10):  # ten interruptions in a minute cost nothing
        wasted.spend("one", 0.2, 0.0)
    assert wasted.free_at("one", 0.0) == 0.0
    wasted.spend("one", 2.0, 0.0)
    assert wasted.free_at("one", 0.0) == pytest.approx(1.0 / REFILL)
    assert wasted.free_at("other", 0.0) == 0.0
    assert wasted.free_at("one", 1.0 / REFILL) == pytest.approx(1.0 / REFILL)
    assert wasted.free_at("one", 1e6) == 1e6


def test_the_allowances_are_bounded_in_number_and_by_their_size() -> None:
    wasted = WastedWork()
    for number in range(MAX_OWNERS + 1):
        wasted.spend(str(number), FREE + 1, 0.0)
    assert wasted.free_at("0", 0.0) == 0.0, "forgotten"
    assert wasted.free_at("1", 0.0) > 0.0
    wasted.spend("1", FREE, 1e6)
    assert wasted.free_at("1", 1e6) == 1e6, "a long pause gives no more than the whole allowance"


async def test_a_call_that_cancels_what_runs_again_and_again_rests_while_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wasted_work, "FREE", 0.0)
    pool = ModelThreads(2, 8)
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait()

    wasting = pool.submit(work, Urgency.NOW, "waster")
    await asyncio.to_thread(started.wait)
    wasting.cancel()
    go_on.set()
    done: list[str] = []
    await pool.submit(noting(done, "other"), Urgency.NOW, "other")  # and the wasted job has ended meanwhile
    again = pool.submit(noting(done, "waster"), Urgency.NOW, "waster")
    await pool.submit(noting(done, "third"), Urgency.NOW, "third")
    await again
    assert sorted(done) == ["other", "third", "waster"], "it waits, and is not lost"
    pool.close()
