"""What a relay tells transceivers of its own accord: strays, and clients that are another one's. Pure."""

from __future__ import annotations

import time

import pytest
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.notices import PER_SECOND, REMEMBERED, STRAY_SECONDS, STRAYS_PER_CLIENT
from antiphon.schemas.route_token import RouteKeyring

pytestmark = pytest.mark.pure

ALICE = key_of(("192.0.2.1", 5000))
FIRST, SECOND = key_of(("10.0.0.1", 7001)), key_of(("10.0.0.2", 7002))
MEDIA = b"\x80\x6f" + bytes(40)


def relay(learning: bool = True, tcp: bool = False) -> RelayCore:
    core = RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 100, time.time(), learning=learning, tcp=tcp)
    core.set_routes({(0, 1, 1): FIRST, (0, 2, 1): SECOND}, 0.0)
    return core


def client(number: int) -> int:
    return key_of((f"198.51.{number >> 8}.{number & 255}", 5000))


def media(sequence: int, ssrc: int = 9) -> bytes:
    return b"\x80\x6f" + (sequence & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big") + bytes(40)


def test_a_stream_of_an_unknown_client_goes_to_every_announced_transceiver_until_one_knows_it() -> None:
    core = relay()
    for number in (65534, 65535, 65536):
        assert not core.notices, "it is no stream yet"
        assert core.from_client(ALICE, media(number), 0.0) is None
    packets = [header_of(ALICE) + media(number) for number in (65534, 65535, 65536)]
    assert core.notices.take() == [(to, packet) for packet in packets for to in (FIRST, SECOND)]
    assert core.from_client(ALICE, media(65538), 0.05) is None
    assert core.notices.take() == [(to, header_of(ALICE) + media(65538)) for to in (FIRST, SECOND)]
    assert core.from_tunnel(SECOND, header_of(ALICE), 0.1) is None  # the bare header
    assert core.from_client(ALICE, media(65539), 0.2) == SECOND
    assert core.notices.take() == []


def test_what_is_no_stream_goes_nowhere() -> None:
    core = relay()
    for number in range(100):
        core.from_client(ALICE, media(number, ssrc=number), 0.0)
        core.from_client(client(1), media(number * 7), 0.0)
        core.from_client(client(2), media(5), 0.0)
        core.from_client(client(number + 10), media(number), 0.0)
    assert core.notices.take() == []


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x16\xfe\xfd" + bytes(60),
        b"\x80\xc8" + bytes(60),
        b"\x80\x6f",
        b"\x05" * 60,
        b"\xff" * 60,
        b"\1\1" + bytes(30),
    ],
    ids=["DTLS", "RTCP", "short", "nothing", "nothing else", "response"],
)
def test_nothing_else_of_an_unknown_client_does(datagram: bytes) -> None:
    core = relay()
    for _ in range(9):
        assert core.from_client(ALICE, datagram, 0.0) is None
    assert core.notices.take() == []


def test_strays_are_few_from_one_client_and_from_all() -> None:
    core = relay()
    for number in range(100):
        core.from_client(ALICE, media(number), number / 1000)
    assert 0 < len(core.notices.take()) <= 2 * STRAYS_PER_CLIENT
    for number in range(3):
        core.from_client(ALICE, media(number), STRAY_SECONDS)
    assert len(core.notices.take()) == 6, "a NAT may rebind again"
    sent = 0
    for number in range(20_000):
        core.from_client(client(number // 4), media(number), 10 + number / 10_000)
        sent += len(core.notices.take())
    assert PER_SECOND < sent <= PER_SECOND + 2.1 * PER_SECOND
    assert len(core.notices._strays) <= REMEMBERED


def test_without_a_transceiver_and_where_bare_headers_teach_nothing_none_are_sent() -> None:
    for core in (relay(learning=False), relay(tcp=True), RelayCore(RouteKeyring.from_text(ROUTE_KEYS), 9, 0.0)):
        for number in range(9):
            core.from_client(ALICE, media(number), 0.0)
        assert core.notices.take() == []


def test_a_transceiver_whose_client_has_dialled_another_one_is_told_once_a_second() -> None:
    core = relay()
    for slot, owner in ((1, FIRST), (2, SECOND)):
        core.from_client(ALICE, binding_request(mint(slot)), 0.0)
        assert core.from_tunnel(owner, header_of(ALICE) + b"\1\1answer", 0.0) == ALICE
    for number in range(100):
        assert core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, number / 50) is None
    assert core.notices.take() == [(FIRST, header_of(ALICE))] * 2
    assert core.counters.drops["not_owner"] == 100


def test_a_response_follows_the_flow_and_a_request_of_a_transceiver_makes_none() -> None:
    core = relay()
    assert core.from_tunnel(FIRST, header_of(ALICE) + b"\0\1request", 0.0) is None
    assert core.from_client(ALICE, b"\1\1response", 0.1) is None
    core.from_tunnel(FIRST, header_of(ALICE) + MEDIA, 0.2)
    assert core.from_tunnel(FIRST, header_of(ALICE) + b"\0\1request", 0.3) == ALICE
    assert core.from_client(ALICE, b"\1\1response", 0.4) == FIRST
