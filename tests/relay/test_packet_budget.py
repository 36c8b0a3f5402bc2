"""A caller's budget of packets in the core, with a clock of the test's own: no flow and no pause brings more."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.flow_table import HALF_OPEN_SECONDS
from antiphon.relay.core.packet_budget import PacketLimit, Spent
from antiphon.schemas.route_token import RouteKeyring

pytestmark = pytest.mark.pure

OWNER, OTHER_OWNER = key_of(("10.0.0.1", 7001)), key_of(("10.0.0.2", 7002))
ROUTES = {(0, 1, 1): OWNER, (0, 2, 1): OTHER_OWNER}
LIMIT = PacketLimit(500, 250)
MEDIA = b"\x80" + bytes(40)
ALICE, BOB = key_of(("192.0.2.1", 5000)), key_of(("192.0.2.1", 5001))


def relay(limit: PacketLimit = LIMIT, max_flows: int = 1000, tcp: bool = False) -> RelayCore:
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), max_flows, time.time(), limit=limit, tcp=tcp)
    core.set_routes(ROUTES, 0.0)
    return core


def answered(core: RelayCore, client: int, ufrag: str, now: float = 0.0) -> None:
    """The owner has answered this client's check."""
    core.from_client(client, binding_request(ufrag), now)
    core.from_tunnel(OWNER, header_of(client) + b"answer", now)


def forwarded(core: RelayCore, client: int, packets: int, now: float) -> int:
    """How many of so many media packets at once go to an owner."""
    return sum(core.from_client(client, MEDIA, now) is not None for _ in range(packets))


@pytest.mark.parametrize("client", [ALICE, key_of(("2001:db8::2", 6000, 0, 0))], ids=["IPv4", "IPv6"])
def test_a_caller_that_sends_10000_packets_a_second_gets_its_budget_and_its_neighbour_everything(client: int) -> None:
    core = relay()
    answered(core, client, mint())
    answered(core, BOB, mint())
    flood = neighbour = 0
    for millisecond in range(5000):
        now = 1 + millisecond / 1000
        flood += forwarded(core, client, 10, now)
        if not millisecond % 20:
            neighbour += forwarded(core, BOB, 1, now)
    assert neighbour == 250
    assert 0.95 * 5 * LIMIT.per_second <= flood <= LIMIT.burst + 5 * LIMIT.per_second
    assert core.counters.drops["over_budget"] == 50_000 - flood


def test_a_caller_may_send_its_rate_for_ever_and_most_of_its_burst_after_a_pause() -> None:
    core = relay()
    answered(core, ALICE, mint())
    now = 1.0
    for _ in range(5000):
        now += 1 / 490
        assert forwarded(core, ALICE, 1, now) == 1
    for _ in range(20):
        now += 1.0
        assert forwarded(core, ALICE, 200, now) == 200
    assert not core.counters.drops["over_budget"]


def test_a_callers_own_checks_are_charged_too() -> None:
    core = relay()
    ufrag = mint()
    answered(core, ALICE, ufrag)
    assert sum(core.from_client(ALICE, binding_request(ufrag), 1.0) is not None for _ in range(400)) <= LIMIT.burst


def test_more_source_ports_of_one_call_bring_no_more_packets() -> None:
    core = relay()
    ufrag = mint()
    clients = [key_of(("192.0.2.9", 1000 + number)) for number in range(16)]
    for client in clients:
        answered(core, client, ufrag)
    sent = sum(forwarded(core, client, 10, 1 + ms / 100) for ms in range(300) for client in clients)
    assert sent <= LIMIT.burst + 3 * LIMIT.per_second


def test_flows_that_end_and_begin_again_bring_no_new_burst() -> None:
    core = relay(tcp=False)
    ufrag, sent = mint(), 0
    for number in range(100):
        client = key_of(("192.0.2.9", 1000 + number))
        now = 1 + number / 100
        answered(core, client, ufrag, now)
        sent += forwarded(core, client, 250, now)
        core.flows.forget_client(client)
        core.tick(now, time.time())
    assert sent <= LIMIT.burst + LIMIT.per_second


def test_what_no_owner_has_answered_is_charged_to_a_budget_beside_the_callers() -> None:
    core = relay()
    ufrag = mint()
    answered(core, ALICE, ufrag)
    sent = 0
    for number in range(2000):  # a recorded check, again and again, from forged addresses
        forged = key_of(("198.51.100.1", 1 + number))
        sent += core.from_client(forged, binding_request(ufrag), 1.0) is not None
        sent += forwarded(core, forged, 3, 1.0)
    assert sent <= LIMIT.burst
    assert forwarded(core, ALICE, 200, 1.0) == 200


def test_a_learned_flow_is_its_calls_from_its_first_check_on() -> None:
    core = relay()
    ufrag = mint()
    for client in (ALICE, BOB):
        core.from_tunnel(OWNER, header_of(client), 0.0)
        assert core.from_client(client, binding_request(ufrag), 0.0) == OWNER
    assert forwarded(core, ALICE, 400, 0.0) + forwarded(core, BOB, 400, 0.0) <= LIMIT.burst


def test_another_calls_check_takes_no_flow_out_of_its_own_budget() -> None:
    core = relay()
    answered(core, ALICE, mint())
    flooders = mint()
    answered(core, BOB, flooders)
    assert forwarded(core, BOB, 1000, 1.0) <= LIMIT.burst
    assert core.from_client(ALICE, binding_request(flooders), 1.0) == OWNER  # forged with Alice's address
    assert forwarded(core, ALICE, 150, 1.0) == 150


def test_a_call_that_goes_through_several_workers_has_one_budget() -> None:
    workers, clients, ufrag = [relay(), relay()], [ALICE, BOB], mint()
    for core, client in zip(workers, clients, strict=True):
        answered(core, client, ufrag)
    sent = 0
    for millisecond in range(10_000):
        now = 1 + millisecond / 1000
        sent += sum(forwarded(core, client, 2, now) for core, client in zip(workers, clients, strict=True))
        if not millisecond % 100:
            busy = [core.take_busy() for core in workers]
            workers[0].spent_elsewhere(busy[1], now)
            workers[1].spent_elsewhere(busy[0], now)
    assert 0.8 * 10 * LIMIT.per_second < sent < 2 * LIMIT.burst + 1.1 * 10 * LIMIT.per_second


def test_an_ordinary_call_is_told_to_no_other_worker_and_a_strangers_report_changes_nothing() -> None:
    core = relay()
    answered(core, ALICE, mint())
    for number in range(600):
        assert forwarded(core, ALICE, 1, 1 + number / 60) == 1
    assert core.take_busy() == []
    core.spent_elsewhere([Spent((0, 1, 1, 5), False, 10**9), Spent((9, 9, 9, 9), True, 1)], 20.0)
    assert forwarded(core, ALICE, 200, 20.0) == 200


def test_without_a_limit_everything_is_forwarded() -> None:
    core = relay(PacketLimit(0, 250))
    answered(core, ALICE, mint())
    assert forwarded(core, ALICE, 5000, 1.0) == 5000


def test_budgets_are_forgotten_when_their_calls_have_gone() -> None:
    core = relay()
    for number in range(300):
        client = key_of(("192.0.2.9", 1000 + number))
        answered(core, client, mint())
        core.flows.forget_client(client)
    core.tick(10.0, time.time())
    core.tick(10.0 + HALF_OPEN_SECONDS, time.time())
    assert len(core.flows) == len(core.flows.budgets) == 0


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 15), st.integers(0, 300), st.booleans()), max_size=40))
def test_no_order_of_flows_pauses_and_restarts_brings_more_than_the_budget(
    steps: list[tuple[float, int, int, bool]],
) -> None:
    core, ufrag, now, sent = relay(), mint(), 0.0, 0
    for pause, port, packets, restart in steps:
        now += pause
        client = key_of(("192.0.2.9", 1000 + port))
        if restart:
            core.flows.forget_client(client)
        core.tick(now, time.time())
        answered(core, client, ufrag, now)
        sent += forwarded(core, client, packets, now)
    # Half-open flows have a budget of the same size.
    assert sent <= LIMIT.burst + now * LIMIT.per_second
