"""A listener is told by its end whether its call is over or goes on in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from support.peers.session_call import Call, StartCall

from antiphon.transceiver.calls.listeners import Listeners
from antiphon.transceiver.timing.scheduler import Scheduler

pytestmark = pytest.mark.virtual


class NoVisits:
    """In place of the timing wheel: nothing is mixed."""

    def join(self, visit: Callable[[float], None], now: float, tolerance: float) -> None:
        pass

    def leave(self, visit: Callable[[float], None]) -> None:
        pass


def end(call: Call) -> None:
    call.session.end("hang_up", call.loop.time(), "agent_returned")


def move(call: Call) -> None:
    call.session.detach()


@pytest.mark.parametrize(("happens", "cause"), [(end, "call_ended"), (move, "call_moved")])
async def test_the_cause_of_a_listener_s_end_says_whether_it_may_listen_anew(
    start_call: StartCall, happens: Callable[[Call], None], cause: str
) -> None:
    call, listening = await start_call(), await start_call()
    listener = listening.session
    listener.state.session_id, listener.state.listens_to = "rtc_listener", "rtc_test"
    listeners = Listeners(call.registry, cast(Scheduler, NoVisits()))
    listeners.add(listener, "")
    happens(call)
    listeners.session_removed("rtc_test")
    assert (listener.ended, listener.cause) == ("hang_up", cause)
