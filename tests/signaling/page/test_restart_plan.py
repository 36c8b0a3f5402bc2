"""`RestartPlan` of restart_plan.js, in simulated time: when the server is asked for an ICE restart, and when no more.

It runs in node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.browsers.virtual_page import virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

Run = Callable[..., dict[str, Any]]

LOAD = """async (module) => {
  globalThis.planning = await import(module);
  // `outcomes`: of the requests, in their order: {after, status, ...}; the last one repeats. `events`: [at, name, ...].
  globalThis.run = ({ seconds, outcomes, urgent = true, events = [], quiet = 1000, random = 0.5 }) => {
    const plan = new planning.RestartPlan(() => random);
    const [asked, ends] = [[], []];
    let [most, gone] = [0, null];
    plan.want(0, urgent);
    for (let now = 0; now <= seconds * 1000; now += 10) {
      for (const [, name] of events.filter(([at]) => at === now)) {
        if (name === "want") plan.want(now, true);
        else plan[name](now);
      }
      for (const end of ends.filter(({ at }) => at === now)) {
        ends.splice(ends.indexOf(end), 1);
        if (end.status === 200) plan.answered();
        else plan.failed(now, { quiet_ms: quiet + now, ...end });
      }
      if (gone === null && ["gone", "refused"].includes(plan.state)) gone = now;
      if (!plan.due(now)) continue;
      const outcome = outcomes[Math.min(asked.length, outcomes.length - 1)];
      asked.push(now);
      plan.started(now);
      ends.push({ ...outcome, at: now + outcome.after });
      most = Math.max(most, ends.length);
    }
    return { asked, most, gone, state: plan.state };
  };
}"""
NO_ANSWER = {"after": 10, "status": 0}
NO_CALL = {"after": 10, "status": 404}
DONE = {"after": 50, "status": 200}


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with virtual_page() as page:
        page.evaluate(LOAD, (files.STATIC / "restart_plan.js").resolve().as_uri())

        def ran(**plan: Any) -> dict[str, Any]:
            result: dict[str, Any] = page.evaluate("plan => run(plan)", plan)
            return result

        yield ran


def test_it_is_asked_at_once_and_once_where_the_server_answers(run: Run) -> None:
    assert run(seconds=30, outcomes=[DONE]) == {"asked": [0], "most": 1, "gone": None, "state": "idle"}


def test_a_server_that_does_not_answer_is_asked_ever_more_seldom_until_it_does(run: Run) -> None:
    done = run(seconds=30, outcomes=[NO_ANSWER] * 7 + [DONE])
    waits = [later - earlier - 10 for earlier, later in zip(done["asked"], done["asked"][1:], strict=False)]
    assert waits == [100, 250, 500, 1000, 2000, 3000, 3000]
    assert done["state"] == "idle"


def test_a_request_that_hangs_is_made_once_more_beside_and_no_third_time(run: Run) -> None:
    done = run(seconds=10, outcomes=[{"after": 3000, "status": 0}, {"after": 3000, "status": 0}, DONE])
    assert done["asked"][:2] == [0, 800]
    assert done["most"] == 2


def test_when_the_network_changes_it_is_asked_at_once(run: Run) -> None:
    done = run(seconds=10, outcomes=[NO_ANSWER] * 5 + [DONE], events=[[2700, "networkChanged"]])
    assert 2700 in done["asked"]


def test_a_path_that_works_again_is_not_asked_for(run: Run) -> None:
    done = run(seconds=10, outcomes=[NO_ANSWER], events=[[1000, "spare"]])
    assert max(done["asked"]) < 1000
    assert done["state"] == "idle"


def test_a_planned_move_is_asked_for_once(run: Run) -> None:
    assert run(seconds=10, outcomes=[NO_ANSWER], urgent=False)["asked"] == [0]


def test_a_dead_path_makes_a_planned_move_urgent(run: Run) -> None:
    done = run(seconds=10, outcomes=[{"after": 500, "status": 0}, DONE], urgent=False, events=[[200, "want"]])
    assert len(done["asked"]) == 2


def test_a_call_that_the_server_says_has_ended_is_over_at_once(run: Run) -> None:
    assert run(seconds=10, outcomes=[{**NO_CALL, "ended": True}])["gone"] == 10


def test_a_call_that_no_server_knows_is_over_after_the_time_in_which_another_may_take_it_over(run: Run) -> None:
    taken_over = run(seconds=30, outcomes=[NO_CALL] * 4 + [DONE])
    assert taken_over["gone"] is None
    over = run(seconds=30, outcomes=[NO_CALL])
    assert over["state"] == "gone"
    assert 8000 <= over["gone"] <= 11_500
    assert max(over["asked"]) <= over["gone"]


def test_after_a_sleep_longer_than_the_server_waits_the_first_word_is_enough(run: Run) -> None:
    assert run(seconds=10, outcomes=[NO_CALL], quiet=40_000)["gone"] == 10


def test_a_call_without_anybody_to_ask_is_given_up_after_a_minute(run: Run) -> None:
    assert 60_000 <= run(seconds=90, outcomes=[NO_ANSWER], quiet=0)["gone"] <= 64_000


@pytest.mark.parametrize("status", [400, 401, 403, 415])
def test_a_refusal_is_final(run: Run, status: int) -> None:
    done = run(
        seconds=30, outcomes=[{"after": 10, "status": status}], events=[[5000, "want"], [6000, "networkChanged"]]
    )
    assert (done["asked"], done["state"]) == ([0], "refused")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(run: Run, status: int) -> None:
    assert run(seconds=30, outcomes=[{"after": 10, "status": status}, DONE])["state"] == "idle"


def test_a_retry_after_is_waited_for(run: Run) -> None:
    done = run(seconds=30, outcomes=[{"after": 10, "status": 503, "retry_after_ms": 2000}, DONE])
    assert done["asked"] == [0, 2010]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outcomes=st.lists(
        st.fixed_dictionaries(
            {
                "after": st.integers(1, 300).map(lambda n: 10 * n),
                "status": st.sampled_from([0, 200, 404, 409, 429, 500, 503]),
                "retry_after_ms": st.sampled_from([0, 1000, 10**9]),
            }
        ),
        min_size=1,
        max_size=8,
    ),
    events=st.lists(
        st.tuples(st.integers(0, 3000).map(lambda n: 10 * n), st.sampled_from(["want", "spare", "networkChanged"])),
        max_size=6,
    ),
    random=st.floats(0, 1),
)
def test_whatever_comes_two_requests_run_at_most_and_few_are_made(
    run: Run, outcomes: list[Any], events: list[Any], random: float
) -> None:
    done = run(seconds=40, outcomes=outcomes, events=events, random=random)
    assert done["most"] <= 2
    # Each change of the network, and each time it is wanted anew, begins the waits anew.
    assert len(done["asked"]) <= 30 + 8 * len(events)
    if done["gone"] is not None:
        assert max(done["asked"]) <= done["gone"]
