"""When the transceiver of a session was there last, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import time

import pytest

from antiphon.runtime.agent_sessions.session_liveness import SessionLiveness, until_silent

pytestmark = pytest.mark.process


def test_the_caller_s_frames_tell_when_their_transceiver_stopped() -> None:
    liveness = SessionLiveness(0.0)
    for number in range(50):
        liveness.frame(number * 0.02)
    assert liveness.frames_stopped_at(1.3) == 0.98
    liveness.frame(1.29)  # of the next process, faster than its report
    liveness.frame(1.31)
    assert liveness.frames_stopped_at(1.32) == 0.98


def test_events_and_frames_are_signs_of_life_but_events_do_not_say_when_frames_stopped() -> None:
    liveness = SessionLiveness(0.0)
    assert liveness.silent_for(3.0) == 3.0
    liveness.frame(3.0)
    liveness.event(5.0)
    assert liveness.silent_for(6.0) == 1.0
    assert liveness.frames_stopped_at(6.0) == 3.0


async def test_the_watch_returns_when_nothing_has_come_for_so_long() -> None:
    began = time.monotonic()
    liveness = SessionLiveness(began)
    watch = asyncio.create_task(until_silent(liveness, 0.2))
    await asyncio.sleep(0.1)
    liveness.event(time.monotonic())
    await watch
    assert time.monotonic() - began >= 0.3
