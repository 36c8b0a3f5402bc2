"""Requests without credentials, indications and attributes that nobody knows: answered by the RFC, and harmless."""

from __future__ import annotations

import asyncio
import struct

import pytest
from aioice import stun as aioice_stun
from support.peers.session_call import HEADER, PASSWORD_KEY, RELAY, Call

from antiphon.rtc import stun
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password

pytestmark = pytest.mark.virtual

ID = bytes(range(12))
SOFTWARE = struct.pack("!HH", 0x8022, 8) + b"embedded"


def request(body: bytes = b"", kind: int = stun.BINDING_REQUEST, transaction_id: bytes = ID) -> bytes:
    return struct.pack("!HHI", kind, len(body), stun.MAGIC_COOKIE) + transaction_id + body


def with_fingerprint(body: bytes = b"") -> bytes:
    message = aioice_stun.Message(aioice_stun.Method.BINDING, aioice_stun.Class.REQUEST, ID)
    message.add_fingerprint()
    return bytes(message)


def signed(call: Call, *unknown: int, number: int = 0) -> bytes:
    """A check with attributes that nobody knows."""
    ours = call.session.state.ufrags[0]
    name = f"{ours}:x".encode()
    body = struct.pack("!HH", stun.USERNAME, len(name)) + name + bytes(-len(name) % 4)
    body += b"".join(struct.pack("!HH", each, 0) for each in unknown)
    transaction_id = number.to_bytes(12, "big")
    return stun._pack_message(stun.BINDING_REQUEST, transaction_id, body, ice_password(PASSWORD_KEY, ours).encode())


def arrives(call: Call, datagram: bytes, header: bytes = HEADER) -> list[bytes]:
    """What this draws, of STUN."""
    before = len(call.sent)
    call.registry.receive(header + datagram, RELAY, call.loop.time(), 0)
    return [data for data in call.sent[before:] if data[0] < 4]


@pytest.mark.parametrize(
    "keepalive",
    [
        with_fingerprint(),
        request(SOFTWARE),
        request(),
        request(struct.pack("!HH", stun.USERNAME, 4) + b"ours"),
        request(struct.pack("!HH", stun.USERNAME, 4) + b"a:b\0"),
        request(struct.pack("!HHI", stun.PRIORITY, 4, 1)),
        request(struct.pack("!HH", 0x7777, 0)),
    ],
    ids=["FINGERPRINT", "SOFTWARE", "empty", "half a USERNAME", "no integrity", "PRIORITY", "unknown attribute"],
)
async def test_a_keepalive_without_credentials_gets_an_unsigned_400(call: Call, keepalive: bytes) -> None:
    answers = arrives(call, keepalive)
    assert len(answers) == 1
    read = aioice_stun.parse_message(answers[0])
    assert read.message_class == aioice_stun.Class.ERROR
    assert read.transaction_id == ID
    assert read.attributes["ERROR-CODE"][0] == 400
    assert "MESSAGE-INTEGRITY" not in read.attributes
    assert ("FINGERPRINT" in read.attributes) == (stun.FINGERPRINT.to_bytes(2, "big") in keepalive)
    assert len(answers[0]) <= max(len(keepalive), 28) + 8
    assert call.registry.counters.malformed == 0


async def test_keepalives_are_no_consent_and_their_answers_are_few(call: Call) -> None:
    call.peer.answers_checks = False
    call.drop_up = lambda data: True
    answered = 0
    for second in range(34):
        for _ in range(100):
            answered += len(arrives(call, request(SOFTWARE)))
        await asyncio.sleep(1)
        assert call.ended is None or second >= 29
    assert call.ended == "client_vanished"
    assert 31 < answered < 2.2 * 32 + 8


async def test_a_keepalive_from_an_address_that_is_nobody_s_is_not_answered(call: Call) -> None:
    elsewhere = tunnel.pack_header(Address("198.51.100.1", 1))
    assert arrives(call, request(SOFTWARE), elsewhere) == []
    assert call.registry.counters.unknown_client == 1


async def test_an_address_that_is_not_proved_is_not_answered_beyond_what_came_from_it() -> None:
    call = Call()
    header = tunnel.pack_header(Address("192.0.2.1", 5000))
    check = signed(call)
    call.registry.receive(header + check, RELAY, call.loop.time(), 0)
    call.session.ice.shook_hands(call.session.ice.path, 0)  # type: ignore[arg-type]
    for address in (call.session.ice._addresses.get(header),):
        assert address is not None
        address.proved, address.credit = False, 30
    assert len(arrives(call, request())) == 1
    assert arrives(call, request()) == []
    await call.stop()


async def test_indications_are_dropped_and_not_counted_as_malformed(call: Call) -> None:
    for body in (b"", SOFTWARE):
        assert arrives(call, request(body, stun.BINDING_INDICATION)) == []
        assert arrives(call, request(body, stun.BINDING_INDICATION), b"\2\0\0\1\1\2\3\4") == []
    assert (call.registry.counters.malformed, call.registry.counters.unknown_client) == (0, 0)
    arrives(call, request(b"", 0x0003))
    assert call.registry.counters.malformed == 1


@pytest.mark.parametrize("unknown", [(0x7777,), (0x0002, 0x0003, 0x0004), tuple(range(0x4000, 0x4040))])
async def test_a_check_with_an_attribute_that_has_to_be_understood_gets_a_420(
    call: Call, unknown: tuple[int, ...]
) -> None:
    path = call.session.ice.path
    check = signed(call, *unknown)
    (answer,) = arrives(call, check)
    read = aioice_stun.parse_message(answer)
    assert read.attributes["ERROR-CODE"][0] == 420
    read.check_message_integrity(ice_password(PASSWORD_KEY, call.session.state.ufrags[0]).encode())
    assert struct.pack("!H", unknown[0]) in answer
    assert len(answer) <= len(check), "no more than came"
    elsewhere = tunnel.pack_header(Address("198.51.100.9", 9))
    call.header = elsewhere
    assert len(arrives(call, signed(call, *unknown, number=1), elsewhere)) == 1
    assert call.session.ice.path == path
    assert call.session.ice.headers == (HEADER,)
    call.header = HEADER


async def test_an_optional_attribute_that_nobody_knows_changes_nothing(call: Call) -> None:
    (answer,) = arrives(call, signed(call, 0x8055, 0xC057, 0xFF00))
    assert stun.message_type(answer) == stun.BINDING_SUCCESS


async def test_a_replayed_check_gets_no_420_either(call: Call) -> None:
    check = signed(call, 0x7777)
    assert len(arrives(call, check)) == 1
    assert arrives(call, check, tunnel.pack_header(Address("198.51.100.9", 9))) == []
