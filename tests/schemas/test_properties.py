"""What holds for every input: values round-trip, and bytes make a reader raise `MalformedError` or nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.schemas import MalformedError, audio, backbone, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import MESSAGES, DataMessage, decode, decode_any, encode
from antiphon.schemas.route_token import RouteKeyring, RouteToken, age_in_hours, hour_of, ice_password

pytestmark = pytest.mark.pure

KEYRING = RouteKeyring.from_text("A:00112233445566778899aabbccddeeff,b:000102030405060708090a0b0c0d0e0f")

tokens = st.builds(
    RouteToken,
    cluster=st.integers(0, 2**12 - 1),
    slot=st.integers(0, 2**16 - 1),
    epoch=st.integers(0, 2**16 - 1),
    session=st.integers(0, 2**32 - 1),
    hour=st.integers(0, 2**16 - 1),
)
addresses = st.builds(Address, st.ip_addresses().map(str), st.integers(1, 65535))
unsigned = st.integers(0, 2**64 - 1)


@st.composite
def frames(draw: st.DrawFn) -> AudioFrame:
    rate = draw(st.sampled_from(audio.RATES))
    pcm = draw(st.binary(min_size=2, max_size=2)) * (rate // 50)
    return AudioFrame(
        draw(unsigned), draw(unsigned), draw(unsigned), rate, draw(st.integers(0, 255)), draw(unsigned), pcm
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


def only_malformed(read: Callable[[], object]) -> None:
    """Run a reader; any exception but its own fails the test."""
    with contextlib.suppress(MalformedError):
        read()


# ---- route token -------------------------------------------------------------------------------------


@given(tokens)
def test_a_route_token_round_trips(token: RouteToken) -> None:
    ufrag = KEYRING.seal(token)
    assert KEYRING.open(ufrag) == token
    assert KEYRING.open(ufrag.encode()) == token


@given(st.integers(0, 4095), st.integers(0, 65535), st.integers(0, 65535))
def test_a_minted_ufrag_is_letters_and_digits_only(cluster: int, slot: int, epoch: int) -> None:
    ufrag, token = KEYRING.mint(cluster, slot, epoch, 1_800_000_000)
    assert ufrag.isalnum()
    assert ufrag.isascii()
    assert token[:3] == (cluster, slot, epoch)


@given(st.binary(max_size=64) | st.text(max_size=64))
def test_no_text_makes_the_keyring_raise_anything_but_malformed(ufrag: bytes | str) -> None:
    only_malformed(lambda: KEYRING.open(ufrag))


@given(tokens, st.integers(0, 22), st.integers(0, 255))
def test_no_changed_ufrag_opens(token: RouteToken, place: int, value: int) -> None:
    ufrag = KEYRING.seal(token).encode()
    changed = ufrag[:place] + bytes([value]) + ufrag[place + 1 :]
    if changed != ufrag:
        with pytest.raises(MalformedError):
            KEYRING.open(changed)


@given(st.integers(1_600_000_000, 1_800_000_000), st.integers(-1000, 1000))
def test_a_tokens_age_counts_across_the_wrap_of_the_hours(minted: int, hours: int) -> None:
    assert age_in_hours(RouteToken(0, 0, 0, 0, hour_of(minted)), minted + hours * 3600) == hours


@given(st.binary(min_size=16, max_size=64), st.text("abcXYZ019", min_size=23, max_size=23))
def test_an_ice_password_is_24_characters_of_base64(key: bytes, ufrag: str) -> None:
    password = ice_password(key, ufrag)
    assert len(password) == 24
    assert password.isascii()


@given(st.text(max_size=80))
def test_no_text_makes_a_keyring_raise_anything_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        RouteKeyring.from_text(text)


# ---- addresses and tunnel ----------------------------------------------------------------------------


@given(addresses)
def test_an_address_round_trips_as_text(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_no_text_makes_the_address_reader_raise_anything_but_malformed(text: str) -> None:
    only_malformed(lambda: parse_address(text))


@given(addresses, st.booleans(), st.binary(max_size=100))
def test_a_tunnel_packet_round_trips(client: Address, tcp: bool, payload: bytes) -> None:
    header = tunnel.pack_header(client, tcp)
    assert tunnel.unpack(header + payload) == (header, client, tcp, payload)
    assert tunnel.header_length(header + payload) == len(header)


@given(st.binary(max_size=64))
def test_no_bytes_make_the_tunnel_reader_raise_anything_but_malformed(packet: bytes) -> None:
    only_malformed(lambda: tunnel.unpack(packet))
    only_malformed(lambda: tunnel.header_length(memoryview(packet)))


@given(st.sampled_from([b"\x02\x00", b"\x02\x80", b"\x0a\x00", b"\x0a\x80"]), st.binary(max_size=64))
def test_a_tunnel_header_comes_back_unchanged(family: bytes, rest: bytes) -> None:
    try:
        packet = tunnel.unpack(family + rest)
    except MalformedError:
        return
    assert packet.header + packet.payload == family + rest
    assert tunnel.pack_header(packet.client, packet.tcp) == packet.header


# ---- backbone ----------------------------------------------------------------------------------------

routes = st.builds(
    backbone.Route, st.integers(1, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 255)
)
backbone_keys = st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(backbone.BackboneKeys)


@given(addresses, st.booleans(), routes, st.binary(max_size=100), backbone_keys)
def test_a_backbone_packet_round_trips(
    client: Address, tcp: bool, route: backbone.Route, payload: bytes, keys: backbone.BackboneKeys
) -> None:
    header = backbone.pack_header(client, route, tcp)
    packet = keys.seal(header, payload)
    assert len(packet) == len(header) + keys.overhead + len(payload)
    assert keys.open(packet) == (header, payload)
    assert backbone.route_of(header) == route
    assert tunnel.unpack(header + payload) == (header, client, tcp, payload)


@given(
    addresses,
    routes,
    st.binary(max_size=40),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 1 << 16),
    st.integers(1, 255),
)
def test_a_tagged_backbone_packet_in_which_one_byte_has_changed_is_refused(
    client: Address, route: backbone.Route, payload: bytes, key: bytes, place: int, change: int
) -> None:
    keys = backbone.BackboneKeys([key])
    packet = bytearray(keys.seal(backbone.pack_header(client, route), payload))
    packet[place % len(packet)] ^= change
    with pytest.raises(MalformedError):
        keys.open(bytes(packet))


@given(st.binary(max_size=64), backbone_keys)
def test_no_bytes_make_the_backbone_reader_raise_anything_but_malformed(
    packet: bytes, keys: backbone.BackboneKeys
) -> None:
    only_malformed(lambda: keys.open(packet))
    only_malformed(lambda: keys.open(b"\x02\x40" + packet))
    only_malformed(lambda: keys.open_hello(backbone.HELLO_MAGIC + packet))


@given(
    st.sampled_from([backbone.HELLO, backbone.ANSWER]),
    st.integers(0, 0xFFFF),
    st.booleans(),
    st.binary(min_size=8, max_size=8),
    backbone_keys,
)
def test_a_hello_round_trips(kind: int, ingress: int, asks: bool, stamp: bytes, keys: backbone.BackboneKeys) -> None:
    hello = backbone.Hello(kind, ingress, asks, stamp)
    packet = keys.seal_hello(hello)
    assert backbone.is_hello(packet)
    assert keys.open_hello(packet) == hello
    only_malformed(lambda: tunnel.header_length(packet))


# ---- audio frame -------------------------------------------------------------------------------------


@given(frames())
def test_an_audio_frame_round_trips(frame: AudioFrame) -> None:
    assert audio.unpack_frame(audio.pack_frame(frame)) == frame


@given(st.binary(max_size=200))
def test_no_bytes_make_the_frame_reader_raise_anything_but_malformed(data: bytes) -> None:
    only_malformed(lambda: audio.unpack_frame(data))


@given(json_values | st.lists(json_values, min_size=8, max_size=8))
def test_no_msgpack_value_makes_the_frame_reader_raise_anything_but_malformed(value: Any) -> None:
    try:
        packed = msgpack.packb(value)
    except OverflowError:
        return  # integers beyond 64 bits have no msgpack form
    only_malformed(lambda: audio.unpack_frame(packed))


@given(frames(), st.data())
def test_a_damaged_frame_is_read_or_malformed(frame: AudioFrame, data: st.DataObject) -> None:
    packed = bytearray(audio.pack_frame(frame))
    packed[data.draw(st.integers(0, min(60, len(packed) - 1)))] = data.draw(st.integers(0, 255))
    only_malformed(lambda: audio.unpack_frame(bytes(packed)))


# ---- subjects ----------------------------------------------------------------------------------------

names = st.text("abcXYZ019-_", min_size=1, max_size=64)


@given(names, names)
def test_a_session_subject_round_trips(agent: str, session_id: str) -> None:
    for build, kind in (
        (subjects.audio_in, "audio.in"),
        (subjects.audio_out, "audio.out"),
        (subjects.session_event, "event"),
        (subjects.session_control, "control"),
        (subjects.data_in, "data.in"),
        (subjects.data_out, "data.out"),
    ):
        assert subjects.parse_session_subject(build(agent, session_id)) == (agent, session_id, kind)


@given(names)
def test_a_call_subject_round_trips(session_id: str) -> None:
    for build, kind in (
        (subjects.call_attach, "attach"),
        (subjects.call_open, "open"),
        (subjects.call_hang_up, "hang_up"),
        (subjects.call_status, "status"),
    ):
        assert subjects.parse_call_subject(build(session_id)) == (session_id, kind)


@given(st.text(max_size=80))
def test_no_text_makes_the_subject_reader_raise_anything_but_malformed(text: str) -> None:
    only_malformed(lambda: subjects.parse_session_subject(text))
    only_malformed(lambda: subjects.parse_session_subject(f"antiphon.v1.session.{text}"))
    only_malformed(lambda: subjects.parse_call_subject(text))
    only_malformed(lambda: subjects.parse_call_subject(f"antiphon.v1.call.{text}"))


@given(st.text(max_size=80))
def test_a_built_subject_has_as_many_tokens_as_its_pattern(name: str) -> None:
    try:
        subject = subjects.agent_claim(name)
    except MalformedError:
        return
    assert subject.count(".") == 4
    assert not set(subject) & set(" *>\r\n\t")


@given(st.integers(), st.integers())
def test_a_slot_out_of_range_has_no_subject(cluster: int, slot: int) -> None:
    only_malformed(lambda: subjects.transceiver_open(cluster, slot))


# ---- messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_a_message_reader_raise_anything_but_malformed(name: str, data: bytes) -> None:
    only_malformed(lambda: decode_any(data, MESSAGES[name], name))


@pytest.mark.long
@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=40)  # for each of some forty messages
@given(data=st.data())
def test_no_json_makes_a_message_reader_raise_anything_but_malformed(name: str, data: st.DataObject) -> None:
    """Objects with the message's own field names and any values: closer to the mark than random JSON."""
    fields = _field_names(MESSAGES[name].json_schema())
    drawn = data.draw(st.dictionaries(st.sampled_from(fields), json_values, max_size=len(fields)))
    kinds = ["opened", "refused", "flush", "pause", "hang_up", "playout", "flushed", "statistics", "ended"]
    drawn["type"] = data.draw(st.sampled_from(kinds))
    text = json.dumps(drawn).encode("utf-8", "surrogatepass")
    only_malformed(lambda: decode_any(text, MESSAGES[name], name))


def _field_names(schema: dict[str, Any]) -> list[str]:
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({field for part in parts for field in part.get("properties", {})})


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.data())
def test_a_message_that_was_read_is_written_and_read_again_as_the_same(name: str, data: st.DataObject) -> None:
    from support.messages import any_message

    message = data.draw(any_message(name))
    assert decode_any(encode(message), MESSAGES[name], name) == message
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_beyond_the_size_limit_is_refused_unread(name: str) -> None:
    with pytest.raises(MalformedError, match="refused"):
        decode_any(b" " * (512 * 1024 + 1), MESSAGES[name], name)


@given(st.text(max_size=40), st.text(max_size=200) | st.binary(max_size=200))
def test_a_data_message_carries_text_as_text_and_bytes_as_bytes(channel: str, payload: str | bytes) -> None:
    if isinstance(payload, str) and not payload.isprintable():
        return
    message = decode(encode(DataMessage.of(channel, payload)), DataMessage)
    assert message.payload() == payload
