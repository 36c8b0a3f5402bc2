"""The relay's decisions, with a clock of the test's own."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of, sockaddr_of
from antiphon.relay.core.flow_table import HALF_OPEN_SECONDS, IDLE_SECONDS, MAX_FLOWS_PER_TOKEN, NOTE_EVERY_SECONDS
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.core.pending_packets import MAX_CLIENTS, MAX_PACKETS, PENDING_SECONDS
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.tunnel import HELLO

pytestmark = pytest.mark.pure

ALICE, BOB = key_of(("192.0.2.1", 5000)), key_of(("2001:db8::2", 6000, 0, 0))
FIRST, SECOND = key_of(("10.0.0.1", 7001)), key_of(("10.0.0.2", 7002))
STRANGER = key_of(("10.0.0.3", 7003))
ROUTES = {(0, 1, 1): FIRST, (0, 2, 1): SECOND}
MEDIA = b"\x80" + bytes(40)


def relay(max_flows: int = 100) -> RelayCore:
    """A relay that knows of two transceivers, at time 0."""
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), max_flows, time.time())
    core.set_routes(ROUTES, 0.0)
    return core


def in_call(core: RelayCore, client: int = ALICE, slot: int = 1, now: float = 0.0) -> None:
    """`client` asked and the transceiver in `slot` answered."""
    owner = ROUTES[(0, slot, 1)]
    assert core.from_client(client, binding_request(mint(slot)), now) == owner
    assert core.from_tunnel(owner, header_of(client) + b"answer", now) == client


def test_a_key_is_the_tunnel_header_and_the_address() -> None:
    assert sockaddr_of(ALICE) == ("192.0.2.1", 5000)
    assert sockaddr_of(BOB) == ("2001:db8::2", 6000)
    assert header_of(ALICE) == b"\x02\x00\x13\x88\xc0\x00\x02\x01"
    assert len(header_of(BOB)) == 20


@pytest.mark.parametrize("client", [ALICE, BOB])
def test_a_request_goes_to_the_owner_of_its_token_and_media_follows(client: int) -> None:
    core = relay()
    assert core.from_client(client, MEDIA, 0.0) is None
    in_call(core, client, slot=2)
    assert core.from_client(client, MEDIA, 0.1) == SECOND


def test_username_is_found_behind_other_attributes() -> None:
    assert relay().from_client(ALICE, binding_request(mint(2), padding=9), 0.0) == SECOND


def test_a_flow_is_half_open_until_its_owner_answers() -> None:
    core = relay()
    core.from_client(ALICE, binding_request(mint()), 0.0)
    assert (core.flows.half_open, core.flows.confirmed) == (1, 0)
    core.from_tunnel(FIRST, header_of(ALICE) + b"answer", 0.1)
    assert (core.flows.half_open, core.flows.confirmed) == (0, 1)


def test_a_request_that_nobody_answers_is_forgotten_even_when_it_is_repeated() -> None:
    core = relay()
    request = binding_request(mint())
    for tenth in range(int(HALF_OPEN_SECONDS * 10)):
        core.from_client(ALICE, request, tenth / 10)
        core.tick(tenth / 10, time.time())
        assert core.flows.half_open == 1
    core.tick(HALF_OPEN_SECONDS, time.time())
    assert len(core.flows) == 0


def test_a_flow_lives_while_its_owner_sends_and_ends_a_minute_after() -> None:
    core = relay()
    in_call(core)
    for minute in range(1, 121):
        now = minute * (IDLE_SECONDS - 1)
        core.tick(now, time.time())
        assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, now) == ALICE
    core.tick(now + IDLE_SECONDS - 0.1, time.time())
    assert core.from_client(ALICE, MEDIA, now) == FIRST
    core.tick(now + IDLE_SECONDS + NOTE_EVERY_SECONDS + 5.0, time.time())
    assert core.from_client(ALICE, MEDIA, now) is None


def test_a_full_table_gives_up_what_is_half_open_and_never_a_call() -> None:
    core = relay(max_flows=3)
    in_call(core)
    in_call(core, BOB)
    replayed = binding_request(mint(2))
    for port in range(1, 50):
        assert core.from_client(key_of(("198.51.100.1", port)), replayed, 1.0) == SECOND
    assert len(core.flows) == 3
    assert core.from_client(ALICE, MEDIA, 1.0) == core.from_client(BOB, MEDIA, 1.0) == FIRST
    newcomer = key_of(("198.51.100.2", 1))
    in_call(core, newcomer)  # a third call takes the place that was half-open ...
    assert core.from_client(key_of(("198.51.100.3", 1)), replayed, 1.0) is None  # ... and now there is none left
    assert core.counters.drops["table_full"] == 1
    assert core.from_tunnel(SECOND, header_of(key_of(("198.51.100.3", 1))), 1.0) is None
    assert core.counters.drops["table_full"] == 2


def test_a_confirmed_flow_yields_to_another_owner_only_when_that_one_answers() -> None:
    core = relay()
    in_call(core)
    assert core.from_client(ALICE, binding_request(mint(2)), 1.0) == SECOND
    assert core.from_client(ALICE, MEDIA, 1.0) == FIRST
    assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, 1.0) == ALICE
    assert core.from_tunnel(SECOND, header_of(ALICE) + b"answer", 1.1) == ALICE
    assert core.from_client(ALICE, MEDIA, 1.2) == SECOND
    assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, 1.3) is None
    assert core.counters.drops["not_owner"] == 1


def test_a_call_outlives_the_token_that_opened_it() -> None:
    core = relay()
    ufrag = mint()
    core.from_client(ALICE, binding_request(ufrag), 0.0)
    core.from_tunnel(FIRST, header_of(ALICE) + b"answer", 0.0)
    core.tick(1.0, time.time() + 30 * 3600)
    assert core.from_client(ALICE, binding_request(ufrag), 1.0) == FIRST
    assert core.from_client(BOB, binding_request(ufrag), 1.0) is None


def test_a_call_outlives_the_key_that_sealed_its_token() -> None:
    core = relay()
    in_call(core)
    sealed_before = binding_request(mint(keys="B:ffeeddccbbaa99887766554433221100"))
    assert core.from_client(ALICE, sealed_before, 1.0) == FIRST
    assert core.from_client(BOB, sealed_before, 1.0) is None


@pytest.mark.parametrize(
    ("ufrag", "reason"),
    [
        (mint(keys="A:ffeeddccbbaa99887766554433221100"), "forged_token"),
        (mint(keys="B:00112233445566778899aabbccddeeff"), "forged_token"),
        ("x" * 23, "forged_token"),
        ("short", "no_token"),
        (mint()[:22], "no_token"),
        (mint(slot=3), "no_route"),
        (mint(epoch=2), "no_route"),
        (mint(cluster=1), "no_route"),
        (mint(hours_ago=26), "expired_token"),
        (mint(hours_ago=-3), "expired_token"),
    ],
    ids=[
        "another key",
        "an unknown key id",
        "no token at all",
        "too short",
        "cut",
        "unknown slot",
        "unknown epoch",
        "unknown cluster",
        "old",
        "from the future",
    ],
)
def test_a_request_is_refused_without_a_trace(ufrag: str, reason: str) -> None:
    core = relay()
    assert core.from_client(ALICE, binding_request(ufrag), 0.0) is None
    assert core.counters.drops == {reason: 1}
    assert len(core.flows) == 0


@pytest.mark.parametrize("hours_ago", [-1, 0, 23])
def test_a_token_of_this_day_is_taken(hours_ago: int) -> None:
    assert relay().from_client(ALICE, binding_request(mint(hours_ago=hours_ago)), 0.0) == FIRST


def test_a_packet_of_an_announced_transceiver_makes_its_flow_known() -> None:
    core = relay()
    assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, 0.0) == ALICE
    assert core.from_client(ALICE, MEDIA, 0.1) == FIRST


def test_a_bare_header_makes_a_flow_known_and_goes_no_further() -> None:
    core = relay()
    assert core.from_tunnel(FIRST, header_of(BOB), 0.0) is None
    assert not core.counters.drops
    assert core.from_client(BOB, MEDIA, 0.1) == FIRST


def test_a_bare_header_takes_no_flow_from_another_owner() -> None:
    core = relay()
    in_call(core)
    assert core.from_tunnel(SECOND, header_of(ALICE), 0.1) is None
    assert core.from_client(ALICE, MEDIA, 0.2) == FIRST


def test_a_stranger_reaches_no_client() -> None:
    core = relay()
    in_call(core)
    assert core.from_tunnel(STRANGER, header_of(ALICE) + MEDIA, 0.1) is None
    assert core.counters.drops == {"unannounced_sender": 1}


def test_flows_go_with_the_announcement_of_their_owner() -> None:
    core = relay()
    in_call(core)
    in_call(core, BOB, slot=2)
    core.set_routes({(0, 2, 1): SECOND}, 1.0)
    assert core.from_client(ALICE, MEDIA, 1.0) is None
    assert core.from_client(BOB, MEDIA, 1.0) == SECOND
    assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, 1.0) is None


def test_a_recycled_address_gets_no_packet_of_its_former_incarnation() -> None:
    core = relay()
    in_call(core)
    core.set_routes({(0, 1, 2): FIRST, (0, 2, 1): SECOND}, 1.0)
    assert core.from_client(ALICE, MEDIA, 1.0) is None
    assert core.from_client(ALICE, binding_request(mint(epoch=1)), 1.0) is None
    assert core.from_client(ALICE, binding_request(mint(epoch=2)), 1.0) == FIRST


def test_each_new_incarnation_is_asked_for_its_clients_more_than_once() -> None:
    core = relay()
    asked = [owner for tenth in range(40) for owner in core.due_hellos(tenth / 10)]
    assert asked.count(FIRST) == asked.count(SECOND) == 4
    core.set_routes(ROUTES, 5.0)
    assert core.due_hellos(5.0) == []
    core.set_routes({**ROUTES, (0, 1, 2): STRANGER}, 6.0)
    assert core.due_hellos(6.0) == [STRANGER]
    core.set_routes(ROUTES, 6.1)
    assert core.due_hellos(60.0) == []


def test_nothing_too_long_or_empty_is_forwarded() -> None:
    core = relay()
    in_call(core)
    assert core.from_client(ALICE, b"\x80" * MAX_DATAGRAM, 0.1) == FIRST
    assert core.from_client(ALICE, b"\x80" * (MAX_DATAGRAM + 1), 0.1) is None
    assert core.from_client(ALICE, b"", 0.1) is None
    assert core.from_tunnel(FIRST, header_of(ALICE) + b"\x80" * (MAX_DATAGRAM + 1), 0.1) is None
    assert core.counters.drops == {"bad_length": 3}


@given(st.binary(max_size=200))
def test_no_datagram_of_a_client_raises_or_opens_a_flow(datagram: bytes) -> None:
    core = relay()
    assert core.from_client(ALICE, datagram, 0.0) is None
    assert len(core.flows) == 0
    assert sum(core.counters.drops.values()) == 1


@given(st.binary(max_size=120), st.integers(0, 120), st.data())
def test_no_mutation_of_a_request_raises_or_goes_astray(noise: bytes, keep: int, data: st.DataObject) -> None:
    core = relay()
    request = bytearray(binding_request(mint())[:keep] + noise)
    if len(request) >= 20 and data.draw(st.booleans(), "repair the length field"):
        del request[len(request) & ~3 :]
        request[0:8] = b"\0\1" + (len(request) - 20).to_bytes(2, "big") + b"\x21\x12\xa4\x42"
    assert core.from_client(ALICE, bytes(request), 0.0) in (None, FIRST)


@given(st.sampled_from([FIRST, STRANGER]), st.binary(max_size=60))
def test_no_tunnel_packet_raises_or_sends_to_another_than_its_header_names(source: int, packet: bytes) -> None:
    core = relay()
    client = core.from_tunnel(source, packet, 0.0)
    if client is not None:
        assert source == FIRST
        assert packet.startswith(header_of(client))


def test_a_hello_that_comes_back_is_no_packet_for_anybody() -> None:
    core = relay()
    assert core.from_tunnel(FIRST, HELLO, 0.0) is None
    assert core.counters.drops == {"malformed_tunnel": 1}


def test_a_token_opens_few_flows_at_a_time_and_the_oldest_unanswered_one_makes_room() -> None:
    core = relay()
    request = binding_request(mint())
    clients = [key_of(("192.0.2.9", 1000 + number)) for number in range(MAX_FLOWS_PER_TOKEN + 1)]
    assert [core.from_client(client, request, 0.0) for client in clients] == [FIRST] * len(clients)
    assert core.flows.half_open == MAX_FLOWS_PER_TOKEN
    assert core.from_client(clients[0], MEDIA, 0.1) is None
    for client in clients[1:]:
        core.from_tunnel(FIRST, header_of(client) + b"answer", 0.1)
    # Its request went through before it gave way: the owner's answer to it brings nothing back.
    assert core.from_tunnel(FIRST, header_of(clients[0]) + b"\1\1answer", 0.1) is None
    assert core.counters.drops["not_learning"] == 1
    assert core.from_client(clients[0], request, 0.2) is None
    assert core.counters.drops["token_limit"] == 1
    assert core.from_client(clients[0], binding_request(mint()), 0.2) == FIRST


def test_the_places_of_a_token_are_given_back() -> None:
    core = relay()
    request = binding_request(mint())
    for minute in range(5):
        now = minute * 2 * IDLE_SECONDS
        core.tick(now, time.time())
        for port in range(1, MAX_FLOWS_PER_TOKEN + 1):
            client = key_of(("192.0.2.9", minute * 100 + port))
            assert core.from_client(client, request, now) == FIRST
            core.from_tunnel(FIRST, header_of(client) + b"answer", now)
    core.set_routes({}, now)
    assert len(core.flows) == 0


@pytest.mark.parametrize("host", ["198.51.100.{}", "2001:db8:7:{}::1"])
def test_a_source_network_opens_no_more_flows_than_its_share(host: str) -> None:
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 10_000, time.time(), new_flows_per_network=10)
    core.set_routes(ROUTES, 0.0)
    rest = (0, 0) if ":" in host else ()
    clients = [key_of((host.format(number % 200 + 1), 1000 + number, *rest)) for number in range(60)]
    taken = [core.from_client(client, binding_request(mint()), 0.0) for client in clients]
    assert taken.count(FIRST) == 40
    assert core.counters.drops["network_limit"] == 20
    assert core.from_client(key_of(("203.0.113.1", 1)), binding_request(mint()), 0.0) == FIRST
    assert core.from_client(clients[0], binding_request(mint()), 0.0) == FIRST  # asked again: no new flow
    assert core.from_client(clients[-1], binding_request(mint()), 1.0) == FIRST


def test_media_of_an_unknown_client_is_held_for_an_answer_and_no_longer() -> None:
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 100, time.time(), asking=True)
    core.set_routes(ROUTES, 0.0)
    for client in (ALICE, BOB):
        for number in range(3):
            assert core.from_client(client, MEDIA + bytes([number]), 0.0) is None
    assert core.from_client(STRANGER, b"\xffno call sounds like that", 0.0) is None
    assert core.questions() == [ALICE, BOB]
    assert core.questions() == []
    assert core.found(ALICE, (0, 2, 1), 0.1) == SECOND
    assert core.found(BOB, (0, 2, 9), 0.1) is None
    assert core.take_deliverable() == [(ALICE, SECOND, MEDIA + bytes([number])) for number in range(3)]
    core.tick(PENDING_SECONDS, time.time())
    assert core.found(BOB, (0, 2, 1), 1.0) == SECOND
    assert core.take_deliverable() == []
    assert core.counters.drops == {"unknown_client": 4}


def test_what_is_held_is_bounded() -> None:
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 100, time.time(), asking=True)
    core.set_routes(ROUTES, 0.0)
    for number in range(2000):
        for _ in range(MAX_PACKETS + 5):
            core.from_client(key_of((f"10.1.{number >> 8}.{number & 255}", 9)), MEDIA, 0.0)
    questions = core.questions()
    assert len(questions) <= MAX_CLIENTS
    for client in questions:
        core.found(client, (0, 1, 1), 0.0)
    assert len(core.take_deliverable()) <= 100 * MAX_PACKETS


def test_a_rotated_key_opens_new_flows_and_the_old_one_no_more() -> None:
    core = relay()
    in_call(core)
    before = binding_request(mint())
    core.set_keyring(RouteKeyring.from_text("B:ffeeddccbbaa99887766554433221100"))
    assert core.from_client(ALICE, before, 1.0) == FIRST
    assert core.from_client(BOB, before, 1.0) is None
    assert core.from_client(BOB, binding_request(mint(keys="B:ffeeddccbbaa99887766554433221100")), 1.0) == FIRST


def test_no_cut_of_a_request_reaches_anybody_and_none_raises() -> None:
    """A datagram that was cut on its way, as captures of small snapshot lengths have them."""
    core = relay()
    request = binding_request(mint(), padding=9)
    for end in range(len(request)):
        assert core.from_client(ALICE, request[:end], 0.0) is None
    assert core.from_client(ALICE, request, 0.0) == FIRST
    packet = header_of(BOB) + MEDIA
    for end in range(len(header_of(BOB))):
        assert core.from_tunnel(FIRST, packet[:end], 0.0) is None
    assert core.flows.confirmed_owner(BOB) is None
