"""Which calls a bridge takes: bursts, slow models, recovery, requests that hang, calls that use none. Virtual time."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.dispatch.model_load import (
    FRESH_SECONDS,
    KEPT_SECONDS,
    PROBE_SECONDS,
    STUCK_SECONDS,
    Model,
    ModelLoad,
)

pytestmark = pytest.mark.virtual

LIMIT = 1.5


class World:
    """A bridge on two cores, its callers, and a clock."""

    def __init__(self, limit: float = LIMIT, stt: float = 0.4, tts: float = 0.25, cores: int = 2) -> None:
        self.now = 100.0
        self.load = ModelLoad(limit, {"stt": cores, "agent": 8, "tts": cores})
        self.load.waits["stt"].took(stt)
        self.load.waits["tts"].took(tts)
        self.calls = 0

    def claim(self) -> str:
        """The call; empty if it is refused."""
        why, retry_after = self.load.refusal(self.now)
        assert bool(why) == bool(retry_after)
        if why:
            return ""
        self.calls += 1
        name = f"rtc_{self.calls}"
        self.load.call_began(name, self.now)
        return name

    def burst(self, claims: int) -> list[str]:
        return [name for _ in range(claims) if (name := self.claim())]

    def turn(self, name: str, stt: float = 0.4, agent: float = 0.0, tts: float = 0.2) -> None:
        """A caller speaks and is answered so late."""
        steps: tuple[tuple[Model, float], ...] = (("stt", stt), ("agent", agent), ("tts", tts))
        for model, seconds in steps:
            number = self.load.waits[model].began(self.now)
            self.now += seconds
            self.load.waits[model].ended(number, self.now)
            if model == "stt":
                self.load.spoke(name, self.now)

    def later(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("claims", [20, 40])
def test_of_a_burst_before_anything_was_said_six_are_taken_on_two_cores(claims: int) -> None:
    assert 6 <= len(World().burst(claims)) <= 8


def test_more_cores_and_quicker_models_take_more() -> None:
    assert len(World(cores=16).burst(200)) >= 6 * 8
    assert len(World(stt=0.04, tts=0.02).burst(200)) >= 6 * 8


def test_without_a_limit_all_are_taken() -> None:
    world = World(limit=0)
    assert len(world.burst(100)) == 100
    world.turn("rtc_1", stt=20.0)
    assert world.claim()


def test_the_first_call_is_taken_however_slow_a_model_is() -> None:
    assert World(stt=10.0).claim()


def test_models_that_got_slow_refuse_more_and_recover_by_what_running_calls_measure() -> None:
    world = World()
    one, two = world.burst(2)
    for _ in range(3):
        world.turn(one, stt=2.0)
    why, retry_after = world.load.refusal(world.now)
    assert "speech to text" in why
    assert 2 <= retry_after <= 15
    for _ in range(20):
        world.turn(two)
    assert world.claim()


@pytest.mark.parametrize("slow", ["stt", "agent", "tts"])
def test_one_slow_model_is_named_and_refuses_nothing_for_good(slow: Model) -> None:
    world = World()
    name = world.claim()
    world.turn(name, **{slow: 4.0})
    assert not world.claim()
    world.load.call_ended(name)
    another = world.claim()
    assert another, "without a call there is nothing that another try would find better"
    world.turn(another)
    for _ in range(8):
        world.turn(another)
        world.later(1.0)
    assert len(world.burst(10)) >= 4


def test_a_chat_server_that_is_slow_alone_is_tried_by_one_call_at_a_time() -> None:
    world = World()
    silent = world.claim()
    world.turn(silent, agent=6.0)
    taken, began = [], world.now
    for _ in range(120):
        world.later(1.0)
        if name := world.claim():
            taken.append(name)
            world.turn(name, agent=6.0)  # it is as slow as before
    assert 2 <= len(taken) <= (world.now - began) / PROBE_SECONDS
    world.later(KEPT_SECONDS + FRESH_SECONDS)
    probe = world.claim()
    assert probe
    assert not world.claim(), "the first one has to find out"
    world.turn(probe)
    assert world.claim()


def test_the_quick_recogniser_does_not_speak_for_the_chat_server() -> None:
    world = World()
    one = world.claim()
    world.turn(one, agent=6.0)
    assert not world.claim()
    world.later(12.0)
    number = world.load.waits["stt"].began(world.now)
    world.later(0.3)
    world.load.waits["stt"].ended(number, world.now)
    assert len(world.burst(10)) == 1


def test_one_request_that_hangs_among_many_closes_nothing() -> None:
    world = World()
    names = world.burst(4)
    world.load.waits["agent"].began(world.now)
    for _ in range(6):
        for name in names:
            world.turn(name)
        assert world.load.measured(world.now) < LIMIT


def test_requests_that_all_hang_close_the_bridge_and_are_forgotten() -> None:
    world = World()
    one = world.claim()
    for _ in range(3):
        world.load.waits["agent"].began(world.now)
    world.later(3.0)
    assert "language model" in world.load.refusal(world.now)[0]
    world.later(STUCK_SECONDS + KEPT_SECONDS)
    assert world.load.measured(world.now) == 0
    assert world.claim(), f"{one} still hangs, and one call finds out whether others would"


def test_calls_in_which_nobody_speaks_keep_few_others_out() -> None:
    world = World(tts=0.2)
    silent = 0
    for _ in range(10):
        silent += len(world.burst(20))
        world.later(FRESH_SECONDS + 1)
    assert silent >= 20
    for _ in range(5):
        world.turn("rtc_1")
    assert world.load.expected(world.now) <= 2 * LIMIT


def test_a_result_nobody_waits_for_any_more_is_no_wait() -> None:
    world = World()
    waits = world.load.waits["stt"]
    number = waits.began(world.now)
    world.later(9.0)
    waits.dropped(number)
    waits.ended(number, world.now)
    assert waits.typical(world.now) == 0
