"""Connects race: which attempt begins when, and which connection is kept."""

from __future__ import annotations

import asyncio
import socket

import pytest

from antiphon.cli.call.connect_race import Target, in_turn, race

pytestmark = pytest.mark.virtual

V6, V4 = socket.AF_INET6, socket.AF_INET
ONE = Target(V4, ("192.0.2.1", 80))
TWO = Target(V6, ("2001:db8::1", 80, 0, 0))
THREE = Target(V4, ("192.0.2.3", 80))

NEVER = float("inf")


class Network:
    """Answers each attempt after its delay, by the order in which they begin. A negative delay refuses."""

    def __init__(self, *delays: float) -> None:
        self.delays = list(delays)
        self.began: list[tuple[float, Target]] = []
        self.discarded: list[int] = []
        self.cancelled: list[int] = []
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    async def connect(self, target: Target) -> int:
        number = len(self.began)
        self.began.append((round(self._loop.time() - self._start, 3), target))
        delay = self.delays[number]
        try:
            await asyncio.sleep(min(abs(delay), 1e6))
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if delay < 0:
            raise ConnectionRefusedError(f"refused {number}")
        return number

    async def race(self, *targets: Target) -> int:
        return await race(targets, self.connect, self.discarded.append)


async def test_a_connection_that_is_answered_in_time_is_the_only_one() -> None:
    network = Network(0.1)
    assert await network.race(ONE) == 0
    assert network.began == [(0.0, ONE)]


async def test_an_attempt_that_nobody_answers_is_followed_by_others_to_the_same_address() -> None:
    network = Network(NEVER, NEVER, 0.1)
    assert await network.race(ONE) == 2
    assert network.began == [(0.0, ONE), (0.25, ONE), (0.5, ONE)]
    assert network.cancelled == [0, 1]


async def test_there_are_four_attempts_at_most() -> None:
    network = Network(NEVER, NEVER, NEVER, 30.0)
    assert await network.race(ONE) == 3
    assert len(network.began) == 4


async def test_the_first_answer_wins_whichever_attempt_it_is_for() -> None:
    network = Network(1.0, 0.9, NEVER, NEVER)
    assert await network.race(ONE) == 0
    assert network.cancelled == [1, 2, 3]


async def test_what_connects_at_the_same_moment_is_closed() -> None:
    network = Network(0.25, 0.0)
    won = await network.race(ONE)
    assert won in (0, 1)
    assert network.discarded + network.cancelled in ([], [1 - won])


async def test_an_address_that_refuses_is_not_tried_again_and_the_next_one_is_at_once() -> None:
    network = Network(-0.01, NEVER, 0.1)
    assert await network.race(TWO, ONE) == 2
    assert network.began == [(0.0, TWO), (0.01, ONE), (0.26, ONE)]


async def test_a_server_that_refuses_everywhere_is_an_error_at_once() -> None:
    network = Network(-0.01, -0.01)
    with pytest.raises(ConnectionRefusedError, match="refused 0"):
        await network.race(TWO, ONE)
    assert len(network.began) == 2


async def test_an_attempt_that_waits_outlives_one_that_is_refused() -> None:
    network = Network(0.6, -0.01)
    assert await network.race(ONE) == 0


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await Network().race()


async def test_who_gives_up_leaves_no_attempt_behind() -> None:
    network = Network(NEVER, NEVER, NEVER, NEVER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await network.race(ONE, TWO)
    assert network.began == [(0.0, ONE), (0.25, TWO), (0.5, ONE), (0.75, TWO)]
    assert sorted(network.cancelled) == [0, 1, 2, 3]


def test_families_take_turns_and_the_resolvers_first_begins() -> None:
    assert in_turn([TWO, ONE, THREE, ONE]) == [TWO, ONE, THREE]
    assert in_turn([ONE, THREE, TWO]) == [ONE, TWO, THREE]
