"""Which transceiver is asked when others did not take a call, in clusters of several regions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.schemas.messages import TransceiverAnnouncement
from antiphon.signaling.placement.asking_order import MAX_FAILURES, AskingOrder

pytestmark = pytest.mark.pure


def transceiver(cluster: int, slot: int) -> TransceiverAnnouncement:
    return TransceiverAnnouncement(
        cluster=cluster, slot=slot, epoch=1, tunnel_address="10.0.0.1:1", state="ready", sessions=0, capacity=1
    )


def asked(clusters: str, outcomes: dict[int, str]) -> str:
    """The clusters in the order in which they are asked; each answers what `outcomes` says."""
    order = AskingOrder([transceiver(int(cluster), slot) for slot, cluster in enumerate(clusters)])
    found = ""
    while (each := order.next()) is not None:
        found += str(each.cluster)
        order.failed(each, outcomes[each.cluster])
    return found


def test_a_silent_cluster_costs_one_wait_and_then_the_next_is_asked() -> None:
    assert asked("1112", {1: "silent", 2: "full"}) == "1211"


def test_after_some_refusals_of_a_cluster_the_next_is_asked() -> None:
    assert MAX_FAILURES == 3
    assert asked("1111122", {1: "full", 2: "full"}) == "1112211"


def test_with_one_cluster_all_are_asked_in_their_order() -> None:
    order = AskingOrder([transceiver(0, slot) for slot in range(8)])
    for slot in range(8):
        each = order.next()
        assert each is not None
        assert each.slot == slot
        order.failed(each, ["silent", "full", "gone"][slot % 3])
    assert order.next() is None


def test_a_cluster_without_the_agent_is_not_asked_again() -> None:
    assert asked("11122", {1: "no_agent", 2: "full"}) == "122"


@pytest.mark.parametrize(
    ("clusters", "outcomes", "nowhere"),
    [
        ("112", {1: "no_agent", 2: "no_agent"}, True),
        ("112", {1: "no_agent", 2: "full"}, False),
        ("1", {1: "no_agent"}, True),
        ("1", {1: "full"}, False),
    ],
)
def test_an_agent_is_nowhere_if_no_cluster_has_it(clusters: str, outcomes: dict[int, str], nowhere: bool) -> None:
    order = AskingOrder([transceiver(int(cluster), slot) for slot, cluster in enumerate(clusters)])
    assert not order.no_agent_anywhere
    while (each := order.next()) is not None:
        order.failed(each, outcomes[each.cluster])
    assert order.no_agent_anywhere == nowhere


@given(
    st.text("123", max_size=12),
    st.fixed_dictionaries({n: st.sampled_from(["silent", "full", "gone"]) for n in (1, 2, 3)}),
)
def test_each_transceiver_is_asked_once_whatever_fails(clusters: str, outcomes: dict[int, str]) -> None:
    assert sorted(asked(clusters, outcomes)) == sorted(clusters)
