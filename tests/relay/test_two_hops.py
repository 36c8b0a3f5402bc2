"""The decisions of both roles of two hops: an ingress and a cluster's relay, with a clock of the test's own."""

from __future__ import annotations

import time

import pytest
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.core.backbone_table import MAX_ADDRESSES, MAX_RELAYS, BackboneTable, Relay
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.outgoing import MAX_DATAGRAM, Outgoing, Through
from antiphon.relay.core.packet_budget import PacketLimit
from antiphon.relay.core.remote_owner import identity_of, is_elsewhere, owner_elsewhere
from antiphon.relay.core.slot_move_table import MAX_MOVES, SlotMoveTable
from antiphon.relay.core.two_hops import TwoHopsSettings
from antiphon.schemas import tunnel
from antiphon.schemas.backbone import (
    ANSWER,
    HELLO,
    BackboneKeys,
    Hello,
    Route,
    route_of,
    with_route,
)
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.tunnel import TCP_BIT

pytestmark = pytest.mark.pure

ALICE, BOB = key_of(("192.0.2.1", 5000)), key_of(("2001:db8::2", 6000, 0, 0))
NEAR = [key_of(("10.1.0.1", 4000)), key_of(("10.1.0.1", 4001))]
"""Workers of the ingress, number 7, which has the cluster 1 of its own."""
FAR = [key_of(("10.2.0.1", 4000)), key_of(("10.2.0.2", 4000))]
"""Two relays of cluster 2."""
OTHER = key_of(("10.3.0.1", 4000))
"""The relay of cluster 3."""
HOME = key_of(("10.1.0.9", 7000))
TRANSCEIVER = key_of(("10.2.0.9", 7000))
NEW_HOME = key_of(("10.1.0.8", 7000))
STRANGER = key_of(("10.9.0.1", 4000))
MEDIA = b"\x80" + bytes(40)
KEYS = [BackboneKeys(), BackboneKeys([b"k" * 32])]
RELAYS = [
    Relay(1, "near", 7, True, tuple(NEAR)),
    Relay(2, "far-a", 8, True, (FAR[0],)),
    Relay(2, "far-b", 9, True, (FAR[1],)),
    Relay(3, "other", 10, True, (OTHER,)),
]


def relay(
    cluster: int | None,
    ingress: int,
    worker: int = 0,
    keys: BackboneKeys = KEYS[0],
    flows: int = 100,
    tcp: bool = False,
) -> RelayCore:
    settings = TwoHopsSettings(ingress, cluster, worker, keys)
    core = RelayCore(
        RouteKeyring.from_text(ROUTE_KEYS), flows, time.time(), two_hops=settings, learning=not tcp, tcp=tcp
    )
    core.set_relays(RELAYS, 0.0)
    return core


def ingress(keys: BackboneKeys = KEYS[0], flows: int = 100, tcp: bool = False) -> RelayCore:
    """Worker 1 of the ingress, with a transceiver in its own cluster too."""
    core = relay(1, 7, 1, keys, flows, tcp)
    core.set_routes({(1, 1, 1): HOME, (1, 5, 1): NEW_HOME}, 0.0)
    return core


def far(keys: BackboneKeys = KEYS[0]) -> RelayCore:
    """A relay of cluster 2."""
    core = relay(2, 8, 0, keys)
    core.set_routes({(2, 4, 3): TRANSCEIVER}, 0.0)
    return core


def up(core: RelayCore, client: int, datagram: bytes, now: float = 0.0) -> Outgoing | None:
    """What leaves an ingress for this datagram of a client."""
    owner = core.from_client(client, datagram, now)
    if owner is None or not is_elsewhere(owner):
        return None
    return core.backbone.sealed(client, owner, datagram)


def named(client: int, slot: int = 4, epoch: int = 3, worker: int = 1, ingress: int = 7) -> bytes:
    return with_route(header_of(client), Route(ingress, slot, epoch, worker))


def in_call(core: RelayCore, client: int = ALICE, now: float = 0.0, keys: BackboneKeys = KEYS[0]) -> None:
    """`client` asked for a session of cluster 2, and its transceiver answered."""
    assert up(core, client, binding_request(mint(4, 3, 2)), now) is not None
    assert core.backbone.received(FAR[0], keys.seal(named(client), b"\1\1answer"), now)
    assert core.flows.confirmed_owner(client) == owner_elsewhere((2, 4, 3))


def heard(core: RelayCore, now: float, silent: frozenset[int] = frozenset()) -> list[tuple[int, Hello]]:
    """The hellos that are due; those of relays that are not silent are answered at once."""
    assert core.two_hops is not None
    hellos = [(to, core.two_hops.keys.open_hello(packet)) for to, packet in core.two_hops.due_hellos(now)]
    for to, hello in hellos:
        if to not in silent:
            core.backbone.received(to, core.two_hops.keys.seal_hello(hello._replace(kind=ANSWER)), now + 0.01)
    return hellos


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("client", [ALICE, BOB, ALICE | TCP_BIT, BOB | TCP_BIT])
def test_a_datagram_goes_over_two_relays_and_its_answer_comes_back(client: int, keys: BackboneKeys) -> None:
    near, there = ingress(keys, tcp=bool(client & TCP_BIT)), far(keys)
    request = binding_request(mint(4, 3, 2))
    sent = up(near, client, request)
    assert sent is not None
    assert sent.to in FAR
    assert sent.through is Through.BACKBONE
    assert len(sent.data) == len(request) + len(header_of(client)) + 8 + (8 if keys.tagged else 0)
    (passed,) = there.backbone.received(NEAR[1], sent.data, 0.0)
    assert (passed.through, passed.to) == (Through.TUNNEL, TRANSCEIVER)
    assert passed.data == named(client) + request
    assert not there.flows.owners
    (back,) = there.backbone.to_ingress(TRANSCEIVER, named(client) + b"\1\1answer", 0.1)
    assert (back.through, back.to) == (Through.BACKBONE, NEAR[1])
    (played,) = near.backbone.received(FAR[0], back.data, 0.2)
    assert (played.through, played.to, bytes(played.data)) == (Through.PUBLIC, client, b"\1\1answer")
    assert near.flows.confirmed == 1
    assert not +near.counters.drops
    assert not +there.counters.drops


def test_a_token_of_the_own_cluster_takes_one_hop_and_one_of_an_unknown_cluster_none() -> None:
    core = ingress()
    assert core.from_client(ALICE, binding_request(mint(1, 1, 1)), 0.0) == HOME
    assert core.from_client(BOB, binding_request(mint(9, 1, 1)), 0.0) is None
    assert core.from_client(BOB, binding_request(mint(4, 3, 99)), 0.0) is None
    assert core.counters.drops["no_route"] == 2


def test_a_relay_without_a_number_is_no_ingress_until_it_has_one() -> None:
    core = relay(1, 0)
    assert core.from_client(ALICE, binding_request(mint(4, 3, 2)), 0.0) is None
    core.set_ingress(7, 0.0)
    assert up(core, ALICE, binding_request(mint(4, 3, 2))) is not None


def test_a_relay_without_a_cluster_prefers_the_transceivers_that_are_announced_to_it() -> None:
    core = relay(None, 7)
    core.set_routes({(2, 4, 3): TRANSCEIVER}, 0.0)
    assert core.from_client(ALICE, binding_request(mint(4, 3, 2)), 0.0) == TRANSCEIVER
    assert up(core, BOB, binding_request(mint(5, 3, 2))) is not None


def test_a_client_moves_between_one_hop_and_two_hops_when_the_new_owner_answers() -> None:
    core = ingress()
    core.from_client(ALICE, binding_request(mint(1, 1, 1)), 0.0)
    core.from_tunnel(HOME, header_of(ALICE) + b"\1\1answer", 0.0)
    assert up(core, ALICE, binding_request(mint(4, 3, 2))) is not None
    assert core.from_client(ALICE, MEDIA, 0.1) == HOME
    core.backbone.received(FAR[1], named(ALICE) + b"\1\1answer", 0.2)
    assert up(core, ALICE, MEDIA, 0.3) is not None
    assert core.from_tunnel(HOME, header_of(ALICE) + MEDIA, 0.3) is None
    core.from_client(ALICE, binding_request(mint(1, 1, 1)), 0.4)
    core.from_tunnel(HOME, header_of(ALICE) + b"\1\1answer", 0.5)
    assert core.from_client(ALICE, MEDIA, 0.6) == HOME
    assert not core.backbone.received(FAR[1], named(ALICE) + MEDIA, 0.7)
    assert core.counters.drops == {"not_owner": 2}


@pytest.mark.parametrize(
    ("source", "packet", "reason"),
    [
        (STRANGER, named(ALICE) + MEDIA, "unannounced_sender"),
        (OTHER, named(ALICE) + MEDIA, "not_owner"),  # a relay of another cluster than the flow's
        (NEAR[0], named(ALICE) + MEDIA, "not_owner"),  # a loop: our own packet comes to us
        (FAR[0], named(ALICE, slot=5) + MEDIA, "not_owner"),
        (FAR[0], named(ALICE, epoch=4) + MEDIA, "not_owner"),
        (FAR[0], named(BOB) + MEDIA, "not_learning"),
        (FAR[0], named(ALICE | TCP_BIT) + MEDIA, "other_transport"),
        (FAR[0], named(ALICE) + bytes(MAX_DATAGRAM + 1), "bad_length"),
        (FAR[0], named(ALICE, ingress=8) + MEDIA, "no_route"),  # upward, to a slot that is not here
        (FAR[0], named(ALICE, ingress=9) + MEDIA, "wrong_ingress"),
        (FAR[0], named(ALICE, ingress=77) + MEDIA, "wrong_ingress"),
        (FAR[0], header_of(ALICE) + MEDIA, "bad_backbone_packet"),  # a tunnel packet
        (FAR[0], b"", "bad_backbone_packet"),
        (FAR[0], named(ALICE)[:15], "bad_backbone_packet"),
        (FAR[0], named(ALICE)[:15] + b"\x20" + MEDIA, "bad_backbone_packet"),  # version 2
        (FAR[0], KEYS[1].seal(named(ALICE), MEDIA), "bad_backbone_packet"),  # a tag where there is no key
        (FAR[0], b"\xfd\x7f", "bad_backbone_packet"),
        (FAR[0], named(key_of(("192.0.2.1", 0))) + MEDIA, "bad_backbone_packet"),
    ],
)
def test_what_is_not_for_this_flow_goes_nowhere_and_changes_nothing(source: int, packet: bytes, reason: str) -> None:
    core = ingress()
    in_call(core)
    before = dict(core.flows.owners)
    assert core.backbone.received(source, packet, 30.0) == []
    assert +core.counters.drops == {reason: 1}
    assert core.flows.owners == before
    assert core.flows.half_open == 0


@pytest.mark.parametrize(
    ("source", "packet", "reason"),
    [
        (NEAR[0], named(ALICE, slot=5) + MEDIA, "no_route"),
        (NEAR[0], named(ALICE, epoch=2) + MEDIA, "no_route"),
        (OTHER, named(ALICE) + MEDIA, "wrong_ingress"),  # in the name of another ingress
        (NEAR[0], named(ALICE), "bad_length"),
        (NEAR[0], named(ALICE, ingress=8) + MEDIA, "not_learning"),  # for a client that has not entered here
        (STRANGER, named(ALICE) + MEDIA, "unannounced_sender"),
    ],
)
def test_a_clusters_relay_passes_on_only_what_an_announced_ingress_may_send(
    source: int, packet: bytes, reason: str
) -> None:
    core = far()
    assert core.backbone.received(source, packet, 0.0) == []
    assert +core.counters.drops == {reason: 1}


def test_a_packet_never_goes_on_to_a_third_relay() -> None:
    """An answer for ingress 7 that comes to another relay, and one that a transceiver sends for nobody's ingress."""
    core = relay(3, 10)
    core.set_routes({(3, 4, 3): HOME}, 0.0)
    assert core.backbone.received(FAR[0], named(ALICE) + MEDIA, 0.0) == []
    assert core.counters.drops == {"wrong_ingress": 1}
    assert core.backbone.to_ingress(HOME, named(ALICE, ingress=4321) + MEDIA, 0.0) == []
    assert core.backbone.to_ingress(STRANGER, named(ALICE) + MEDIA, 0.0) == []
    assert core.counters.drops == {"wrong_ingress": 1, "no_ingress": 1, "unannounced_sender": 1}


@pytest.mark.parametrize("broken", ["none", "other key", "bit of the header", "bit of the datagram", "bit of the tag"])
def test_a_tag_that_is_missing_or_wrong_is_refused(broken: str) -> None:
    core = ingress(KEYS[1])
    in_call(core, keys=KEYS[1])
    packet = bytearray(KEYS[1].seal(named(ALICE), MEDIA))
    match broken:
        case "none":
            packet = bytearray(named(ALICE) + MEDIA)
        case "other key":
            packet = bytearray(BackboneKeys([b"x" * 32]).seal(named(ALICE), MEDIA))
        case "bit of the header":
            packet[7] ^= 1
        case "bit of the datagram":
            packet[-1] ^= 1
        case "bit of the tag":
            packet[16] ^= 1
    assert core.backbone.received(FAR[0], bytes(packet), 1.0) == []
    assert +core.counters.drops == {"bad_backbone_packet": 1}


def test_two_keys_are_live_while_they_rotate() -> None:
    old, new = b"o" * 32, b"n" * 32
    rotating = BackboneKeys([new, old])
    core = ingress(rotating)
    in_call(core, keys=BackboneKeys([old]))
    assert core.backbone.received(FAR[0], BackboneKeys([new]).seal(named(ALICE), MEDIA), 1.0)
    sent = up(core, ALICE, MEDIA, 1.0)
    assert sent is not None
    assert BackboneKeys([new]).open(sent.data) == (named(ALICE), MEDIA)


def test_half_open_floods_towards_other_clusters_displace_no_call() -> None:
    core = ingress(flows=3)
    in_call(core)
    in_call(core, BOB)
    replayed = binding_request(mint(4, 3, 2))
    for port in range(1, 50):
        assert core.from_client(key_of(("198.51.100.1", port)), replayed, 1.0) is not None
    assert len(core.flows) == 3
    assert up(core, ALICE, MEDIA, 1.0) is not None
    assert up(core, BOB, MEDIA, 1.0) is not None


def test_a_budget_bounds_what_a_caller_sends_to_another_cluster() -> None:
    core = RelayCore(
        RouteKeyring.from_text(ROUTE_KEYS),
        100,
        time.time(),
        limit=PacketLimit(100, 50),
        two_hops=TwoHopsSettings(7, 1, 1, KEYS[0]),
    )
    core.set_relays(RELAYS, 0.0)
    in_call(core)
    sent = sum(core.from_client(ALICE, MEDIA, 1.0) is not None for _ in range(500))
    assert sent <= 50
    assert core.counters.drops["over_budget"] == 500 - sent


# ---- several relays of a cluster ----


def test_clients_are_spread_and_only_those_of_a_relay_that_is_out_move() -> None:
    core = ingress()
    heard(core, 0.0)
    assert core.two_hops is not None
    two_hops = core.two_hops
    owner = owner_elsewhere((2, 4, 3))
    clients = [key_of((f"192.0.2.{n % 200}", 1000 + n)) for n in range(400)]

    def spread() -> list[int]:
        ways = [two_hops.way_to(client, owner) for client in clients]
        return [way[0] for way in ways if way is not None]

    before = spread()
    assert 120 < before.count(FAR[0]) < 280
    two_hops.failed(FAR[0], 1.0)
    assert spread() == [FAR[1]] * 400
    heard(core, 2.5)  # it answers again
    assert spread() == before
    drained = [each._replace(ready=each.name != "far-b") for each in RELAYS]
    core.set_relays(drained, 3.0)
    assert spread() == [FAR[0]] * 400


def test_a_new_relay_gets_clients_when_it_has_answered_and_a_lone_one_at_once() -> None:
    core = ingress()
    assert core.two_hops is not None
    assert up(core, ALICE, binding_request(mint(4, 3, 2))) is not None  # none has answered yet: they are tried
    heard(core, 0.0, silent=frozenset({FAR[1]}))
    owner = owner_elsewhere((2, 4, 3))
    ways = {core.two_hops.way_to(key_of(("192.0.2.7", 1 + n)), owner) for n in range(100)}
    assert {way[0] for way in ways if way is not None} == {FAR[0]}


def test_clients_keep_their_relay_when_none_of_the_cluster_answers_and_lose_it_when_none_is_announced() -> None:
    core = ingress()
    in_call(core)
    assert core.two_hops is not None
    for address in FAR:
        core.two_hops.failed(address, 1.0)
    assert up(core, ALICE, MEDIA, 1.0) is not None
    core.set_relays([RELAYS[0]], 2.0)
    assert up(core, ALICE, MEDIA, 2.0) is None
    assert core.counters.drops == {"no_relay": 1}
    core.set_relays(RELAYS, 3.0)
    assert up(core, ALICE, MEDIA, 3.0) is not None


def test_two_relays_with_one_number_are_told_apart_and_the_second_one_shows() -> None:
    core = far()
    double = key_of(("10.4.0.1", 4000))
    core.set_relays([*RELAYS, Relay(4, "zz", 7, True, (double,))], 0.0)
    assert core.backbone.received(NEAR[0], named(ALICE) + MEDIA, 0.0)
    assert core.backbone.received(double, named(ALICE) + MEDIA, 0.0) == []
    assert core.counters.drops == {"ingress_conflict": 1}
    (back,) = core.backbone.to_ingress(TRANSCEIVER, named(ALICE) + MEDIA, 0.0)
    assert back.to == NEAR[1]


def test_an_ingress_with_fewer_workers_than_the_header_says_still_gets_the_answer() -> None:
    core = far()
    (back,) = core.backbone.to_ingress(TRANSCEIVER, named(ALICE, worker=5) + MEDIA, 0.0)
    assert back.to == NEAR[1]


def test_a_relay_that_is_told_its_own_address_sends_itself_nothing() -> None:
    settings = TwoHopsSettings(8, 2, 0, KEYS[0], own_address=FAR[0])
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 10, time.time(), two_hops=settings)
    core.set_relays(RELAYS, 0.0)
    assert FAR[0] not in {to for to, _ in heard(core, 0.0)}
    assert core.backbone.received(FAR[0], named(ALICE, ingress=8) + MEDIA, 0.0) == []
    assert core.counters.drops == {"unannounced_sender": 1}


def test_relays_on_the_other_ip_family_are_left_out() -> None:
    six = Relay(4, "six", 11, True, (key_of(("2001:db8::9", 4000, 0, 0)),))
    assert BackboneTable([*RELAYS, six], own_address=STRANGER).clusters.keys() == {1, 2, 3}
    assert BackboneTable([*RELAYS, six], own_address=BOB).clusters.keys() == {4}


def test_the_table_of_relays_is_bounded() -> None:
    many = [Relay(n % 4000, f"{n:05}", n, True, (key_of(("10.0.0.1", n)),)) for n in range(1, 3000)]
    assert len(BackboneTable(many).relays) == MAX_RELAYS
    wide = [Relay(1, f"{n:05}", n, True, tuple((n << 32) + w for w in range(256))) for n in range(1, 40)]
    assert len(BackboneTable(wide).relay_at) == MAX_ADDRESSES


# ---- recovery ----


@pytest.mark.parametrize("keys", KEYS)
def test_an_ingress_that_has_restarted_gets_its_clients_from_the_cluster(keys: BackboneKeys) -> None:
    near, there = ingress(keys), far(keys)
    assert near.two_hops is not None
    asked = []
    for to, packet in near.two_hops.due_hellos(0.0):
        if to in FAR:
            asked += [each for each in there.backbone.received(NEAR[1], packet, 0.0) if each.through is Through.TUNNEL]
    assert [(each.to, each.data) for each in asked] == [(TRANSCEIVER, tunnel.hello_for(7))]
    told = there.backbone.to_ingress(TRANSCEIVER, named(ALICE, worker=0), 0.1)
    assert [each.to for each in told] == NEAR  # whichever of its workers the client comes to now
    assert near.backbone.received(FAR[0], told[0].data, 0.2) == []
    assert near.flows.confirmed_owner(ALICE) == owner_elsewhere((2, 4, 3))
    assert not +near.counters.drops


def test_bare_headers_teach_only_for_a_while_after_they_were_asked_for() -> None:
    core = ingress()
    for tenth in range(80):
        heard(core, tenth / 10)
    replayed = named(ALICE)
    assert core.backbone.received(FAR[0], replayed, 20.0) == []
    assert core.flows.confirmed == 0
    assert core.counters.drops == {"not_learning": 1}
    core.repeat_hellos(21.0)
    heard(core, 21.0)
    core.backbone.received(FAR[0], replayed, 21.1)
    assert core.flows.confirmed == 1


def test_clients_are_asked_for_until_an_answer_comes_and_three_times_more() -> None:
    core = ingress()
    asks = []
    for tenth in range(100):
        now = tenth / 10
        silent = frozenset(FAR) if now < 3 else frozenset()
        asks += [(now, to) for to, hello in heard(core, now, silent) if hello.asks_clients and to in FAR]
    assert {to for _, to in asks} == set(FAR)
    assert 5 <= len([now for now, _ in asks if now < 3]) <= 7
    assert len([now for now, _ in asks if now >= 3]) == 4


def test_transceivers_are_asked_no_more_often_than_the_limit_and_only_for_the_sender() -> None:
    core = far()
    ask = Hello(HELLO, 7, True, bytes(8))
    asked = [
        each
        for n in range(100)
        for each in core.backbone.received(NEAR[n % 2], KEYS[0].seal_hello(ask), n / 100)
        if each.through is Through.TUNNEL
    ]
    assert len(asked) == 4
    forged = core.backbone.received(OTHER, KEYS[0].seal_hello(ask), 5.0)
    assert [each.through for each in forged] == [Through.BACKBONE]


# ---- moves ----


def test_flows_and_tokens_follow_a_slot_to_another_cluster() -> None:
    core = ingress()
    in_call(core)
    up(core, BOB, binding_request(mint(4, 3, 2)))
    core.set_moves([((2, 4, 3), (3, 6, 1))], 1.0)
    assert core.flows.confirmed_owner(ALICE) == owner_elsewhere((3, 6, 1))
    sent = up(core, ALICE, MEDIA, 1.1)
    assert sent is not None
    assert sent.to == OTHER
    assert route_of(sent.data[:16]) == Route(7, 6, 1, 1)
    asked = up(core, BOB, binding_request(mint(4, 3, 2)), 1.2)
    assert asked is not None
    assert asked.to == OTHER
    assert core.backbone.received(FAR[0], named(ALICE) + MEDIA, 1.3) == []  # the old owner, which may still send
    assert core.backbone.received(OTHER, named(ALICE, 6, 1) + MEDIA, 1.4)
    assert core.counters.drops == {"not_owner": 1}


def test_flows_follow_a_slot_into_the_own_cluster() -> None:
    core = ingress()
    in_call(core)
    core.set_moves([((2, 4, 3), (1, 5, 1))], 1.0)
    assert core.from_client(ALICE, MEDIA, 1.1) == NEW_HOME
    assert core.from_tunnel(NEW_HOME, header_of(ALICE) + MEDIA, 1.2) == ALICE
    (played,) = core.backbone.to_ingress(NEW_HOME, named(ALICE, 5, 1) + MEDIA, 1.3)  # named as before the move
    assert (played.through, played.to) == (Through.PUBLIC, ALICE)


def test_flows_of_a_transceiver_here_follow_its_slot_to_another_cluster() -> None:
    core = ingress()
    core.from_client(ALICE, binding_request(mint(1, 1, 1)), 0.0)
    core.from_tunnel(HOME, header_of(ALICE) + b"\1\1answer", 0.0)
    core.set_moves([((1, 1, 1), (2, 4, 3))], 1.0)
    core.set_routes({(1, 5, 1): NEW_HOME}, 2.0)
    assert core.flows.confirmed_owner(ALICE) == owner_elsewhere((2, 4, 3))


def test_a_move_waits_for_the_new_cluster_to_be_announced() -> None:
    core = ingress()
    in_call(core)
    core.set_relays(RELAYS[:3], 0.5)
    core.set_moves([((2, 4, 3), (3, 6, 1))], 1.0)
    assert core.flows.confirmed_owner(ALICE) == owner_elsewhere((2, 4, 3))
    core.set_relays(RELAYS, 1.5)
    assert core.flows.confirmed_owner(ALICE) == owner_elsewhere((3, 6, 1))


def test_moves_are_followed_over_several_clusters_but_never_in_a_circle() -> None:
    table = SlotMoveTable()
    a, b, c = (1, 1, 1), (2, 2, 2), (3, 3, 3)
    table.set([(a, b), (b, c)])
    assert table.resolve(a) == c
    table.set([(a, b), (b, a), (c, c)])
    assert [table.resolve(each) for each in (a, b, c)] == [a, b, c]
    assert table.moved() == []
    table.set([((1, n, 1), (1, n + 1, 1)) for n in range(20)])
    assert table.resolve((1, 0, 1)) == (1, 0, 1)  # no identity moves so often
    table.set([((1, n & 0xFFFF, n >> 16), (2, 1, 1)) for n in range(MAX_MOVES + 100)])
    assert len(table.moved()) == MAX_MOVES


def test_an_owner_elsewhere_is_no_address() -> None:
    owner = owner_elsewhere((0xFFF, 0xFFFF, 0xFFFF))
    assert is_elsewhere(owner)
    assert identity_of(owner) == (0xFFF, 0xFFFF, 0xFFFF)
    assert len(header_of(owner)) == 8
    assert not is_elsewhere(ALICE)
    assert not is_elsewhere(BOB)


def test_the_old_owner_of_a_slot_that_has_moved_teaches_nothing() -> None:
    core = ingress()
    core.set_moves([((2, 4, 3), (3, 6, 1))], 0.0)
    heard(core, 0.0)
    assert core.backbone.received(FAR[0], named(ALICE), 0.1) == []
    assert core.flows.confirmed == 0
    core.backbone.received(OTHER, named(ALICE, 6, 1), 0.2)
    assert core.flows.confirmed_owner(ALICE) == owner_elsewhere((3, 6, 1))
