"""`PathWatch` of path_watch.js, in simulated time: when another relay is tried, kept, and given up.

It runs in node.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.browsers.virtual_page import virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

Plan = dict[str, Any]
Simulate = Callable[[Plan], dict[str, Any]]

GOOD: list[Plan] = [{}]
LOSSY: list[Plan] = [{"loss": 0.08}]
LOAD = """async ([module, simulation]) => {
  globalThis.watching = await import(module);
  globalThis.simulate = (0, eval)(`(${simulation.slice(simulation.indexOf("function simulate"))})`);
}"""


@pytest.fixture(scope="module")
def simulate() -> Iterator[Simulate]:
    """Runs a plan; see simulated_path.js."""
    simulation = (Path(__file__).parent / "simulated_path.js").read_text()
    with virtual_page() as page:
        page.evaluate(LOAD, [(files.STATIC / "path_watch.js").resolve().as_uri(), simulation])

        def run(plan: Plan) -> dict[str, Any]:
            result: dict[str, Any] = page.evaluate("plan => simulate(watching, plan)", plan)
            return result

        yield run


def orders(result: dict[str, Any]) -> list[str]:
    return [each["do"] for each in result["commands"]]


def between_two(simulate: Simulate, first: list[Plan], second: list[Plan], seconds: float = 60, **plan: Any) -> Any:
    return simulate({"seconds": seconds, "relays": {"a": first, "b": second}, **plan})


def test_an_hour_on_a_good_path_is_an_hour_on_one_relay(simulate: Simulate) -> None:
    result = between_two(simulate, [{"loss": 0.01, "round_trip": 250, "jitter": 20}], GOOD, 3600)
    assert result["commands"] == []


@pytest.mark.parametrize(
    ("why", "bad", "bearable"),
    [
        ("loss", {"loss": 0.05}, {"loss": 0.035}),
        ("round_trip_ms", {"round_trip": 330}, {"round_trip": 310}),
        ("jitter_ms", {"jitter": 31}, {"jitter": 29}),
    ],
)
def test_what_is_beyond_a_limit_for_five_seconds_leads_to_the_other_relay(
    simulate: Simulate, why: str, bad: Plan, bearable: Plan
) -> None:
    result = between_two(simulate, [{}, {"from": 20, **bad}], GOOD)
    tried, kept = result["commands"]
    assert (tried["do"], tried["why"], kept["do"]) == ("try", why, "stay")
    assert 21 < tried["at"] <= 27  # one second with 5 % may hold what five allow
    assert tried["measured"][why] > {"loss": 0.04, "round_trip_ms": 320, "jitter_ms": 30}[why]
    assert result["used"] == "b"
    assert between_two(simulate, [bearable], GOOD, 600)["commands"] == []


def test_a_relay_that_is_no_better_is_left_after_five_seconds_and_none_is_tried_for_60_s_then_120(
    simulate: Simulate,
) -> None:
    result = between_two(simulate, LOSSY, LOSSY, 600)
    assert orders(result)[:8] == ["try", "back"] * 4
    tries = [each["at"] for each in result["commands"] if each["do"] == "try"]
    backs = [each for each in result["commands"] if each["do"] == "back"]
    assert all(5 <= back["at"] - tried <= 7 for tried, back in zip(tries, backs, strict=False))
    assert {back["why"] for back in backs} == {"not_better"}
    assert {back["to"] for back in backs} == {"a"}
    assert [back["wait_ms"] for back in backs] == [60_000, *[120_000] * (len(backs) - 1)]
    waited = [tried - back["at"] for tried, back in zip(tries[1:], backs, strict=False)]
    assert waited[0] == pytest.approx(60, abs=1)
    assert waited[1:] == [pytest.approx(120, abs=1)] * len(waited[1:])


def test_after_a_long_good_time_the_first_wait_is_short_again(simulate: Simulate) -> None:
    bad_twice: list[Plan] = [{"loss": 0.1}, {"from": 15}, {"from": 300, "loss": 0.1}]
    result = between_two(simulate, bad_twice, [{"loss": 0.2}], 320)
    assert [back["wait_ms"] for back in result["commands"] if back["do"] == "back"] == [60_000, 60_000]


def test_where_both_are_bad_the_better_one_is_kept_and_the_call_does_not_swing(simulate: Simulate) -> None:
    result = between_two(simulate, [{"loss": 0.2}], [{"loss": 0.06}], 600)
    assert orders(result)[:2] == ["try", "stay"]
    assert result["spent"]["b"] > 540
    first, second = ([{"from": 10 * n + shift, "loss": 0.15 * (n % 2)} for n in range(60)] for shift in (0, 10))
    assert len(between_two(simulate, first, second, 600)["commands"]) <= 2 * 600 / 20


@pytest.mark.parametrize(
    "moment",
    [{"loss": 0.9}, {"round_trip": 2000}, {"jitter": 200}],
    ids=["gap", "round trip", "jitter"],
)
def test_a_bad_moment_is_no_bad_path(simulate: Simulate, moment: Plan) -> None:
    assert between_two(simulate, [{}, {"from": 20, **moment}, {"from": 20.8}], GOOD)["commands"] == []


@pytest.mark.parametrize(
    "quiet",
    [{"up": 2.5, "down": 2.5, "loss": 0.5}, {"up": 0, "down": 0, "loss": 0.5}, {"up": 11, "down": 11, "loss": 0.05}],
    ids=["silence", "nothing is sent", "three of a slow stream"],
)
def test_the_loss_of_a_few_packets_says_nothing(simulate: Simulate, quiet: Plan) -> None:
    assert between_two(simulate, [quiet], GOOD, 300)["commands"] == []


def test_what_a_late_report_says_of_the_path_before_does_not_count_for_the_new_one(simulate: Simulate) -> None:
    assert orders(between_two(simulate, [{"loss": 0.9}], GOOD, 30)) == ["try", "stay"]


def test_a_muted_microphone_hides_no_loss_towards_the_caller(simulate: Simulate) -> None:
    assert orders(between_two(simulate, [{"up": 0, "loss": 0.08}], [{"up": 0}])) == ["try", "stay"]


@pytest.mark.parametrize(
    "omit",
    [
        ["candidate-pair", "remote-inbound-rtp.roundTripTime"],
        ["remote-inbound-rtp"],
        ["inbound-rtp", "candidate-pair"],
        ["inbound-rtp.jitter", "remote-inbound-rtp.jitter", "inbound-rtp.packetsLost"],
        ["outbound-rtp.packetsSent"],
        ["inbound-rtp.kind", "outbound-rtp.kind", "remote-inbound-rtp.kind"],
    ],
    ids=" ".join,
)
def test_loss_is_found_by_what_the_browser_does_tell(simulate: Simulate, omit: list[str]) -> None:
    relays = {"a": [{}, {"from": 10, "loss": 0.08}], "b": GOOD}
    if omit[0] == "inbound-rtp.kind":
        omit = omit[1:]  # the simulated video's has to stay one
    result = simulate({"seconds": 60, "relays": relays, "omit": omit})
    assert orders(result) == ["try", "stay"]


def test_the_round_trip_is_that_of_the_reports_where_the_pair_has_none(simulate: Simulate) -> None:
    slow = [{"round_trip": 400}]
    assert orders(between_two(simulate, slow, GOOD, omit=["candidate-pair"])) == ["try", "stay"]
    assert orders(between_two(simulate, slow, GOOD, omit=["candidate-pair", "remote-inbound-rtp"])) == []


def test_a_browser_that_does_not_say_which_relay_it_uses_is_left_alone(simulate: Simulate) -> None:
    assert between_two(simulate, LOSSY, GOOD, omit=["path"])["commands"] == []


@pytest.mark.parametrize("event", [{"anew": True}, {"ssrc": 2}, {"anew": True, "ssrc": 2}], ids=str)
def test_counters_that_begin_anew_are_no_loss_and_hide_none(simulate: Simulate, event: Plan) -> None:
    events = [{"at": at, **event} for at in (30, 60)]
    almost = [{"loss": 0.03}]
    assert between_two(simulate, almost, GOOD, 120, events=events)["commands"] == []
    result = between_two(simulate, [{}, {"from": 58, "loss": 0.1}], GOOD, 120, events=events)
    assert orders(result) == ["try", "stay"]
    assert result["commands"][0]["at"] < 65


def test_a_page_that_slept_begins_to_measure_anew(simulate: Simulate) -> None:
    # 90 % lost while it slept: the path may be another one by now.
    night: list[Plan] = [{"loss": 0.0}, {"from": 20, "loss": 0.9}, {"from": 620}]
    assert between_two(simulate, night, GOOD, 700, events=[{"at": 20, "sleep": 600}])["commands"] == []


def test_looks_once_a_second_are_enough_and_once_a_minute_say_nothing(simulate: Simulate) -> None:
    assert orders(between_two(simulate, LOSSY, GOOD, every=1000)) == ["try", "stay"]
    assert between_two(simulate, LOSSY, GOOD, 3600, every=60_000)["commands"] == []


def test_sleep_is_no_time_in_which_a_relay_could_show_itself(simulate: Simulate) -> None:
    result = between_two(simulate, LOSSY, GOOD, 700, events=[{"at": 10, "sleep": 600}])
    tried, kept = result["commands"]
    assert tried["at"] < 10
    assert (kept["do"], result["used"]) == ("stay", "b")
    assert 614 < kept["at"] < 620


@pytest.mark.parametrize("jump", [-3600, -1, 3600])
def test_a_clock_that_jumps_stops_nothing_and_causes_nothing(simulate: Simulate, jump: float) -> None:
    events = [{"at": 20, "clock": jump}]
    assert between_two(simulate, [{"loss": 0.02}], GOOD, 60, events=events)["commands"] == []
    result = between_two(simulate, [{}, {"from": 15, "loss": 0.1}], GOOD, 60, events=[{"at": 16, "clock": jump}])
    assert orders(result) == ["try", "stay"]
    assert result["commands"][0]["at"] < 30
    # In the middle of a wait it may be over at once, but does not last longer.
    result = between_two(simulate, LOSSY, LOSSY, 200, events=[{"at": 20, "clock": jump}])
    assert len(orders(result)) >= 4


def test_a_relay_that_is_not_reached_is_given_up(simulate: Simulate) -> None:
    result = between_two(simulate, LOSSY, [{"dead": True}], 60)
    tried, back = result["commands"]
    assert (back["do"], back["why"], back["to"], back["wait_ms"]) == ("back", "not_reached", "a", 60_000)
    assert back["at"] - tried["at"] < 7
    assert result["used"] == "a"


def test_a_call_that_is_moved_while_another_relay_is_tried_is_not_moved_back(simulate: Simulate) -> None:
    events = [{"at": 9, "moved": "a"}]  # the tried one died; the call's own watch has gone back
    result = between_two(simulate, LOSSY, [{"loss": 0.5}], 60, events=events)
    assert orders(result) == ["try"]
    assert result["commands"][0]["at"] < 9
    assert result["state"] == "waiting"


def test_a_moved_call_is_measured_where_it_is_now(simulate: Simulate) -> None:
    result = between_two(simulate, [{"loss": 0.5}], GOOD, 60, events=[{"at": 3, "moved": "b"}])
    assert result["commands"] == []


def test_while_nothing_can_be_measured_there_nothing_is_decided(simulate: Simulate) -> None:
    silent = {"up": 0, "down": 0}
    tried, decided = between_two(simulate, LOSSY, [silent, {"from": 20, "loss": 0.3}])["commands"]
    assert tried["at"] < 10
    assert decided["do"] == "back"
    assert 20 < decided["at"] < 27
    # But not for ever: nothing speaks against a relay on which all are silent.
    tried, decided = between_two(simulate, LOSSY, [silent])["commands"]
    assert decided["do"] == "stay"
    assert decided["at"] - tried["at"] < 30


def test_with_three_relays_the_way_back_is_to_where_the_call_was(simulate: Simulate) -> None:
    result = simulate({"seconds": 30, "relays": {"a": LOSSY, "b": LOSSY, "c": GOOD}})
    assert [(each["do"], each["used"], each.get("to")) for each in result["commands"]] == [
        ("try", "a", None),
        ("back", "b", "a"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "much"},
        {"loss": -0.1},
        {"round_trip_ms": None},
        {"over_ms": 10},
        {"over_ms": 10**6},
        {"wait_ms": 60_000},
        {"wait_ms": []},
        {"wait_ms": [60_000, "long"]},
        {"los": 0.1},
    ],
    ids=str,
)
def test_a_setting_that_can_not_be_is_named(simulate: Simulate, wrong: Plan) -> None:
    with pytest.raises(AssertionError, match=next(iter(wrong))):
        between_two(simulate, GOOD, GOOD, 1, settings=wrong)


def test_settings_change_limits_and_times(simulate: Simulate) -> None:
    sooner = {"over_ms": 1000, "settle_ms": 0, "loss": 0.5, "round_trip_ms": 100, "wait_ms": [5000]}
    result = between_two(simulate, [{"loss": 0.3, "round_trip": 120}], [{"round_trip": 110}], 30, settings=sooner)
    tries = [each["at"] for each in result["commands"] if each["do"] == "try"]
    assert tries[0] <= 1.5
    assert {round(later - earlier) for earlier, later in itertools.pairwise(tries)} <= {6, 7}
    tried, kept = between_two(simulate, LOSSY, GOOD, settings={"settle_ms": 8000})["commands"]
    assert 13 < kept["at"] - tried["at"] < 14.5


QUALITY = st.fixed_dictionaries(
    {
        "loss": st.sampled_from([0.0, 0.02, 0.06, 0.3, 1.0]),
        "round_trip": st.sampled_from([20, 300, 350, 1500]),
        "jitter": st.sampled_from([1, 28, 60]),
        "up": st.sampled_from([0, 3, 50]),
        "down": st.sampled_from([0, 3, 50]),
        "dead": st.sampled_from([False, False, True]),
    }
)
TIMELINE = st.lists(st.tuples(st.integers(0, 400), QUALITY), max_size=8).map(
    lambda steps: [{}, *({"from": at, **quality} for at, quality in sorted(steps, key=lambda step: step[0]))]
)
EVENT = st.one_of(
    st.builds(lambda at, sleep: {"at": at, "sleep": sleep}, st.integers(0, 400), st.integers(1, 60)),
    st.builds(lambda at, by: {"at": at, "clock": by}, st.integers(0, 400), st.integers(-100, 100)),
    st.builds(lambda at: {"at": at, "anew": True}, st.integers(0, 400)),
    st.builds(lambda at, to: {"at": at, "moved": to}, st.integers(0, 400), st.sampled_from("ab")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TIMELINE, TIMELINE, st.lists(EVENT, max_size=5), st.sampled_from([100, 137, 500, 1000]))
def test_whatever_happens_tries_are_seldom_and_each_is_decided(
    simulate: Simulate, first: list[Plan], second: list[Plan], events: list[Plan], every: int
) -> None:
    result = between_two(simulate, first, second, 420, events=events, every=every)
    commands = result["commands"]
    moved = [event["at"] for event in events if "moved" in event]
    jumped = [event["at"] for event in events if "clock" in event]
    trying: float | None = None
    not_before = 0.0
    for command in commands:
        if command["do"] == "try":
            assert trying is None or any(trying <= at <= command["at"] for at in moved)
            assert command["at"] >= not_before or any(at <= command["at"] for at in jumped)
            trying = command["at"]
            assert command["measured"][command["why"]] is not None
        else:
            assert trying is not None, "decided without a try"
            trying = None
            not_before = command["at"] + (19 if command["do"] == "stay" else command["wait_ms"] / 1000 - 1)
    tries = [each for each in commands if each["do"] == "try"]
    assert len(tries) <= 420 / 20 + 1 + len(jumped)
    if not any(quality for quality in (*first, *second)):
        assert commands == []
