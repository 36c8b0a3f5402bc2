"""Packets of real clients (tests/relay/packets), cut at every length: none raises, none goes astray.

`support.capture_packets` has recorded them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from support.processes.relay_process import Datagrams, binding_request, fake_transceiver, relay_process

from antiphon.relay.core import stun
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import key_of_address
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import HOURS_EPOCH, RouteKeyring
from antiphon.schemas.tunnel import pack_header

DIRECTORY = Path(__file__).parent / "packets"
CLIENT = key_of_address(Address("203.0.113.7", 50_000))
STRANGER = key_of_address(Address("203.0.113.8", 50_000))
OWNER = key_of_address(Address("10.0.0.1", 5_000))
BATCH = 40


class Capture(NamedTuple):
    """The first packets of one client's call."""

    client: str
    keyring: RouteKeyring
    requests: list[bytes]
    others: list[bytes]
    """DTLS, RTP and RTCP."""


def _read(path: Path) -> Capture:
    said = json.loads(path.read_text())
    packets = {kind: list(map(bytes.fromhex, texts)) for kind, texts in said["packets"].items()}
    requests = packets.pop("binding_request")
    others = [each for kind in packets.values() for each in kind]
    return Capture(said["client"], RouteKeyring.from_text(said["route_keys"]), requests, others)


CAPTURES = [_read(path) for path in sorted(DIRECTORY.glob("*.json"))]


@pytest.fixture(params=CAPTURES, ids=lambda capture: capture.client.partition(" ")[0])
def capture(request: pytest.FixtureRequest) -> Capture:
    found = request.param
    assert isinstance(found, Capture)
    return found


def cuts(packet: bytes) -> Iterator[bytes]:
    """Every beginning of it, from nothing to all but the last byte."""
    return (packet[:length] for length in range(len(packet)))


def core_for(capture: Capture) -> RelayCore:
    """A relay of that day, to which the call's transceiver is announced."""
    ufrag = stun.addressed_ufrag(capture.requests[0])
    token = capture.keyring.find(ufrag) if ufrag is not None else None
    assert token is not None, f"the token of {capture.client} does not open"
    core = RelayCore(capture.keyring, 100, HOURS_EPOCH + token.hour * 3600, asking=True)
    core.set_routes({token[:3]: OWNER}, 0)
    return core


@pytest.mark.pure
def test_the_whole_request_of_a_real_client_opens_its_flow(capture: Capture) -> None:
    for request in capture.requests:
        core = core_for(capture)
        assert core.from_client(CLIENT, request, 0) == OWNER
        assert core.flows.half_open == 1


@pytest.mark.pure
def test_no_cut_of_a_real_request_opens_a_flow_or_reaches_anybody(capture: Capture) -> None:
    core = core_for(capture)
    for request in capture.requests:
        for cut in cuts(request):
            assert core.from_client(STRANGER, cut, 0) is None
            stun.addressed_ufrag(cut)  # is asked for whole requests only, and raises all the same for none
    assert len(core.flows) == 0


@pytest.mark.pure
def test_no_cut_of_a_real_packet_reaches_anybody_before_its_call_is_known(capture: Capture) -> None:
    core = core_for(capture)
    for packet in capture.others:
        for cut in (*cuts(packet), packet):
            assert core.from_client(STRANGER, cut, 0) is None
    assert len(core.flows) == 0


@pytest.mark.pure
def test_every_cut_of_a_real_packet_reaches_the_calls_own_transceiver_only(capture: Capture) -> None:
    core = core_for(capture)
    core.from_client(CLIENT, capture.requests[0], 0)
    core.from_tunnel(OWNER, _header(CLIENT), 0)
    for packet in (*capture.requests, *capture.others):
        for cut in cuts(packet):
            assert core.from_client(CLIENT, cut, 0) == (OWNER if cut else None)
    assert core.counters.drops == {"bad_length": len(capture.requests) + len(capture.others)}


@pytest.mark.pure
def test_a_cut_tunnel_packet_reaches_its_client_or_nobody(capture: Capture) -> None:
    core = core_for(capture)
    for packet in capture.others:
        whole = _header(CLIENT) + packet
        for cut in cuts(whole):
            assert core.from_tunnel(STRANGER, cut, 0) is None
            assert core.from_tunnel(OWNER, cut, 0) == (CLIENT if len(cut) > len(_header(CLIENT)) else None)
    assert list(core.flows.owners) == [CLIENT]


def _header(client: int) -> bytes:
    return pack_header(Address("203.0.113.7" if client == CLIENT else "203.0.113.8", 50_000))


@pytest.mark.process
@pytest.mark.parametrize("path", ["batched", "portable"])
async def test_the_packet_loops_move_every_cut_as_it_came(nats_url: str, path: str, capture: Capture) -> None:
    no_limit = {"ANTIPHON_RELAY_FLOW_PACKETS_PER_SECOND": "0"}
    async with relay_process(nats_url, path, settings=no_limit) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        with closing(Datagrams()) as client, closing(Datagrams()) as stranger:
            client.send(binding_request(owner.ufrag()), relay.address)
            request, through = await owner.receive()
            owner.datagrams.send(request.header + b"\1\1answer", through)
            assert (await client.receive())[0] == b"\1\1answer"
            sent = [cut for packet in capture.others for cut in cuts(packet) if cut]
            for start in range(0, len(sent), BATCH):
                batch = sent[start : start + BATCH]
                for cut in batch:
                    stranger.send(cut, relay.address)
                    client.send(cut, relay.address)
                for cut in batch:
                    packet, _ = await owner.receive()
                    assert (packet.client, packet.payload) == (client.address, cut)
                    owner.datagrams.send(request.header + cut, through)
                for cut in batch:
                    assert (await client.receive())[0] == cut
            for cut in (cut for packet in capture.requests for cut in cuts(packet)):
                stranger.send(cut, relay.address)
            await relay.dropped("unknown_client", 1)
            statistics = await relay.statistics()
            assert stranger.waiting() == []
    assert (statistics.flows_confirmed, statistics.flows_half_open) == (1, 0)
