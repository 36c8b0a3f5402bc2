"""Connectivity checks: read, authenticated, answered; and whatever else may come."""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct

import pytest
from aioice import stun as aioice_stun
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.call.ice_check import is_authentic_success, pack_binding_request
from antiphon.rtc import stun
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.ice.agent import MAX_PATHS, IceLite, Path
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
# RFC 5769 section 2.1: USERNAME evtj:h6vY, SOFTWARE, PRIORITY, ICE-CONTROLLED, MESSAGE-INTEGRITY, FINGERPRINT.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)


def test_the_request_of_rfc_5769_is_read_and_its_password_is_told_from_others() -> None:
    request = stun.unpack_binding_request(REQUEST)
    assert (request.local_ufrag, request.remote_ufrag, request.use_candidate) == ("evtj", "h6vY", False)
    assert request.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert stun.is_authentic(REQUEST, request, PASSWORD)
    assert not stun.is_authentic(REQUEST, request, PASSWORD + b"x")


@pytest.mark.parametrize("at", range(20, 76))
def test_a_changed_byte_under_the_integrity_is_noticed(at: int) -> None:
    changed = bytearray(REQUEST)
    changed[at] ^= 1
    try:
        request = stun.unpack_binding_request(bytes(changed))
    except stun.StunError:
        return
    assert not stun.is_authentic(bytes(changed), request, PASSWORD)


@pytest.mark.parametrize(
    "client", [Address("192.0.2.1", 32853), Address("2001:db8:1234:5678:11:2233:4455:6677", 32853)]
)
def test_our_answer_is_what_another_implementation_expects(client: Address) -> None:
    transaction = bytes.fromhex("b7e7a701bc34d686fa87dfae")
    answer = stun.pack_binding_success(transaction, client, PASSWORD)
    read = aioice_stun.parse_message(answer)
    read.check_message_integrity(PASSWORD)
    assert read.message_class == aioice_stun.Class.RESPONSE
    assert read.transaction_id == transaction
    assert read.attributes["XOR-MAPPED-ADDRESS"] == (client.host, client.port)
    assert is_authentic_success(answer, PASSWORD.decode())


def test_a_request_of_another_implementation_is_read() -> None:
    message = aioice_stun.Message(
        message_method=aioice_stun.Method.BINDING, message_class=aioice_stun.Class.REQUEST, transaction_id=bytes(12)
    )
    message.attributes["USERNAME"] = "ours:theirs"
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(PASSWORD)
    message.add_fingerprint()
    request = stun.unpack_binding_request(bytes(message))
    assert (request.local_ufrag, request.remote_ufrag, request.use_candidate) == ("ours", "theirs", True)
    assert stun.is_authentic(bytes(message), request, PASSWORD)


@pytest.mark.parametrize("use_candidate", [False, True])
def test_a_request_of_ours_is_what_another_implementation_expects(use_candidate: bool) -> None:
    request = stun.pack_binding_request("theirs:ours", PASSWORD, bytes(range(12)), 7, use_candidate=use_candidate)
    read = aioice_stun.parse_message(request)
    read.check_message_integrity(PASSWORD)
    assert read.message_class == aioice_stun.Class.REQUEST
    assert read.transaction_id == bytes(range(12))
    assert read.attributes["USERNAME"] == "theirs:ours"
    assert read.attributes["ICE-CONTROLLING"] == 7
    assert read.attributes["PRIORITY"] == stun.HOST_PRIORITY
    assert ("USE-CANDIDATE" in read.attributes) == use_candidate


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=32),
    st.binary(max_size=40),
    st.binary(min_size=12, max_size=12),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
def test_what_is_packed_as_a_request_is_unpacked_again(
    ufrag: str, password: bytes, transaction: bytes, tie_breaker: int, use_candidate: bool
) -> None:
    packed = stun.pack_binding_request(f"{ufrag}:x", password, transaction, tie_breaker, use_candidate=use_candidate)
    request = stun.unpack_binding_request(packed)
    assert request[:4] == (transaction, ufrag, "x", use_candidate)
    assert stun.is_authentic(packed, request, password)
    assert not stun.is_authentic(packed, request, password + b"x")


@given(st.binary(min_size=12, max_size=12), st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=40))
def test_what_is_packed_as_a_success_is_unpacked_again(
    transaction: bytes, host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, password: bytes
) -> None:
    packed = stun.pack_binding_success(transaction, Address(str(host), port), password)
    success = stun.unpack_binding_success(packed)
    assert (success.transaction_id, success.mapped) == (transaction, Address(str(host), port))
    assert stun.is_authentic(packed, success, password)
    assert not stun.is_authentic(packed, success, password + b"x")


@given(st.lists(st.tuples(st.sampled_from([8, 0x20, 0x8028]), st.integers(0, 40), st.binary(max_size=40))))
def test_no_success_raises_anything_but_stun_error(attributes: list[tuple[int, int, bytes]]) -> None:
    body = b"".join(struct.pack("!HH", kind, size) + value for kind, size, value in attributes)
    datagram = struct.pack("!HHI12s", 0x0101, len(body), 0x2112A442, bytes(12)) + body
    try:
        success = stun.unpack_binding_success(datagram)
    except stun.StunError:
        return
    assert not stun.is_authentic(datagram, success, PASSWORD)


@given(st.binary(max_size=300))
def test_no_datagram_raises_anything_but_stun_error(datagram: bytes) -> None:
    stun.is_stun(datagram)
    try:
        request = stun.unpack_binding_request(datagram)
    except stun.StunError:
        return
    stun.is_authentic(datagram, request, PASSWORD)


@given(st.lists(st.tuples(st.sampled_from([6, 8, 0x25, 0x8028, 1]), st.integers(0, 40), st.binary(max_size=40))))
def test_no_attributes_raise_anything_but_stun_error(attributes: list[tuple[int, int, bytes]]) -> None:
    body = b"".join(struct.pack("!HH", kind, size) + value for kind, size, value in attributes)
    datagram = struct.pack("!HHI12s", 1, len(body), 0x2112A442, bytes(12)) + body
    try:
        request = stun.unpack_binding_request(datagram)
    except stun.StunError:
        return
    assert not stun.is_authentic(datagram, request, PASSWORD)


def test_attributes_behind_the_integrity_are_not_believed() -> None:
    honest = pack_binding_request("ours:theirs", "secret", use_candidate=False)
    cut = honest[:-8]  # without FINGERPRINT
    forged = cut[:2] + struct.pack("!H", len(cut) - 20 + 4) + cut[4:] + struct.pack("!HH", stun.USE_CANDIDATE, 0)
    request = stun.unpack_binding_request(forged)
    assert stun.is_authentic(forged, request, b"secret")
    assert not request.use_candidate


# ---- which path answers take ---------------------------------------------------------------------------

KEY = bytes(16)
A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)


def lite() -> IceLite:
    state = SessionState("rtc_test", "a", ["ufrag"], [], 16000, RtpState(7, 111, 0, 0))
    return IceLite(state, KEY, lambda path, data: None, lambda: None)


def check(ice: IceLite, header: bytes, relay: tuple[str, int], now: float, use_candidate: bool = False) -> bool:
    datagram = pack_binding_request("ufrag:x", ice_password(KEY, "ufrag"), use_candidate)
    request = stun.unpack_binding_request(datagram)
    return ice.check(request, datagram, Address("192.0.2.1", 1), Path(header, relay), now) == "taken"


def test_the_path_follows_nomination_and_the_newest_authenticated_packet() -> None:
    ice = lite()
    assert ice.path is None
    assert check(ice, b"one", A, 0, use_candidate=True)
    assert ice.path == Path(b"one", A)
    assert check(ice, b"two", A, 1)
    assert ice.path == Path(b"one", A)  # only a check
    assert check(ice, b"two", A, 2, use_candidate=True)
    assert ice.path == Path(b"two", A)
    ice.received(Path(b"one", A), newest=False, now=3, size=100)  # a straggler
    assert ice.path == Path(b"two", A)
    ice.received(Path(b"two", B), newest=True, now=4, size=100)  # the same client by another relay
    assert ice.path == Path(b"two", B)
    ice.received(Path(b"three", A), newest=True, now=5, size=100)  # never checked
    assert ice.path == Path(b"two", B)


def test_a_wrong_password_is_not_answered_and_changes_nothing() -> None:
    ice = lite()
    datagram = pack_binding_request("ufrag:x", "guess", use_candidate=True)
    request = stun.unpack_binding_request(datagram)
    assert ice.check(request, datagram, Address("192.0.2.1", 1), Path(b"one", A), 0) == "refused"
    assert ice.path is None
    assert ice.headers == ()


def test_checked_addresses_are_bounded_and_the_current_one_stays() -> None:
    ice = lite()
    check(ice, b"current", A, 0, use_candidate=True)
    for number in range(100):
        check(ice, b"%d" % number, A, 1 + number)
    assert len(ice.headers) == MAX_PATHS
    assert b"current" in ice.headers
    assert ice.path == Path(b"current", A)


def test_the_fingerprint_and_integrity_of_our_client_s_requests_hold() -> None:
    datagram = pack_binding_request("a:b", "secret", use_candidate=True)
    assert binascii.crc32(datagram[:-8]) ^ stun.FINGERPRINT_XOR == int.from_bytes(datagram[-4:], "big")
    covered = datagram[:2] + struct.pack("!H", len(datagram) - 28) + datagram[4:-32]
    assert hmac.digest(b"secret", covered, "sha1") == datagram[-28:-8]
