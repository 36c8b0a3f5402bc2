"""The vectors in schemas/vectors/ agree with our code: read from the files, as another language would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import vectors

from antiphon.schemas import MalformedError, audio, backbone, subjects, tunnel
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import MESSAGES, decode_any
from antiphon.schemas.route_token import RouteKeyring, RouteToken, ice_password
from antiphon.schemas.slot_moves import AnnouncementKey, ClusterKeys, SlotMove

pytestmark = pytest.mark.pure


def _read(name: str) -> Any:
    return json.loads((vectors.DIRECTORY / name).read_text())


def _cases(name: str, part: str, label: str) -> list[Any]:
    return [pytest.param(case, id=str(case[label])[:60]) for case in _read(name)[part]]


@pytest.mark.parametrize("name", vectors.files())
def test_the_vectors_are_current(name: str) -> None:
    written = (vectors.DIRECTORY / name).read_text()
    assert written == vectors.as_text(vectors.files()[name]), "a format has changed; if on purpose: make vectors"


@pytest.mark.parametrize("case", _cases("route_tokens.json", "valid", "ufrag"))
def test_a_route_token_opens_to_the_fields_of_its_vector(case: Any) -> None:
    keyring = RouteKeyring.from_text(case["key"])
    token = RouteToken(**case["fields"])
    assert keyring.seal(token) == case["ufrag"]
    assert keyring.open(case["ufrag"]) == token
    assert ice_password(bytes.fromhex(_read("route_tokens.json")["password_key"]), case["ufrag"]) == case["password"]


@pytest.mark.parametrize("case", _cases("route_tokens.json", "malformed", "why"))
def test_a_malformed_route_token_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        RouteKeyring.from_text(case["keys"]).open(case["ufrag"])


@pytest.mark.parametrize("case", _cases("tunnel.json", "valid", "packet"))
def test_a_tunnel_packet_splits_as_in_its_vector(case: Any) -> None:
    packet = tunnel.unpack(bytes.fromhex(case["packet"]))
    assert str(packet.client) == case["client"]
    assert (packet.tcp, packet.header.hex(), packet.payload.hex()) == (case["tcp"], case["header"], case["payload"])
    assert tunnel.pack_header(packet.client, packet.tcp).hex() == case["header"]


@pytest.mark.parametrize("case", _cases("tunnel.json", "forwarded", "relay"))
def test_a_forwarded_tunnel_packet_splits_as_in_its_vector(case: Any) -> None:
    relay, packet = tunnel.unpack_forwarded(bytes.fromhex(case["forwarded"]))
    assert (str(relay), packet.hex()) == (case["relay"], case["packet"])


@pytest.mark.parametrize("case", _cases("backbone.json", "valid", "tagged"))
def test_a_backbone_packet_splits_as_in_its_vector(case: Any) -> None:
    untagged = backbone.BackboneKeys()
    keys = backbone.BackboneKeys.from_text(",".join(reversed(_read("backbone.json")["keys"])))  # the second one opens
    for reader, packet in ((untagged, case["packet"]), (keys, case["tagged"])):
        header, payload = reader.open(bytes.fromhex(packet))
        assert (header.hex(), payload.hex()) == (case["header"], case["payload"])
        assert backbone.route_of(header)._asdict() == case["route"]
        assert str(tunnel.unpack(header).client) == case["client"]


@pytest.mark.parametrize("case", _cases("backbone.json", "hellos", "tagged"))
def test_a_hello_between_relays_reads_as_in_its_vector(case: Any) -> None:
    keys = backbone.BackboneKeys.from_text(_read("backbone.json")["keys"][0])
    for reader, packet in ((backbone.BackboneKeys(), case["packet"]), (keys, case["tagged"])):
        hello = reader.open_hello(bytes.fromhex(packet))
        assert hello == (case["kind"], case["ingress"], case["asks_clients"], bytes.fromhex(case["stamp"]))


def test_malformed_backbone_packets_and_such_without_a_tag_of_a_live_key_are_refused() -> None:
    vector = _read("backbone.json")
    keyless, keys = backbone.BackboneKeys(), backbone.BackboneKeys.from_text(vector["keys"][0])
    for reader, cases in ((keyless, "malformed"), (keys, "malformed"), (keys, "refused_with_the_first_key")):
        for case in vector[cases]:
            if reader is keys and case["packet"] == vector["valid"][0]["tagged"]:
                continue
            with pytest.raises(MalformedError):
                reader.open(bytes.fromhex(case["packet"]))


def test_a_move_of_a_slot_is_believed_with_the_signature_of_the_old_cluster_only() -> None:
    vector = _read("slot_moves.json")
    fields = vector["fields"]
    move = SlotMove(tuple(fields["old"]), tuple(fields["new"]), fields["made_at"])
    assert AnnouncementKey.from_text(vector["seed"]).sign(move) == vector["signature"]
    keys = ClusterKeys.from_text(f"1:{vector['public']}")
    keys.verify(move, vector["signature"])
    for wrong in (move._replace(new=(4, 5, 7)), move._replace(old=(2, 2, 3)), move._replace(made_at=1)):
        with pytest.raises(MalformedError):
            keys.verify(wrong, vector["signature"])
    with pytest.raises(MalformedError):
        keys.verify(move, "zz")


@pytest.mark.parametrize("case", _cases("tunnel.json", "malformed", "why"))
def test_a_malformed_tunnel_packet_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        tunnel.unpack(bytes.fromhex(case["packet"]))


@pytest.mark.parametrize("case", _cases("audio_frames.json", "valid", "first_sample"))
def test_an_audio_frame_reads_as_in_its_vector(case: Any) -> None:
    packed = bytes.fromhex(case.pop("packed"))
    frame = AudioFrame(**{**case, "pcm": bytes.fromhex(case["pcm"])})
    assert audio.unpack_frame(packed) == frame
    assert audio.pack_frame(frame) == packed


@pytest.mark.parametrize("case", _cases("audio_frames.json", "malformed", "why"))
def test_a_malformed_audio_frame_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        audio.unpack_frame(bytes.fromhex(case["packed"]))


@pytest.mark.parametrize("case", _read("messages.json")["valid"], ids=lambda case: case["message"])
def test_a_message_of_the_vectors_is_read_and_written_back(case: Any) -> None:
    adapter = MESSAGES[case["message"]]
    message = decode_any(json.dumps(case["json"]).encode(), adapter, case["message"])
    assert json.loads(adapter.dump_json(message, exclude_none=True)) == case["json"]


def test_the_vectors_hold_every_message() -> None:
    assert {case["message"] for case in _read("messages.json")["valid"]} == set(MESSAGES)


@pytest.mark.parametrize(
    "case", _read("messages.json")["malformed"], ids=lambda case: f"{case['message']} {case['why']}"
)
def test_a_malformed_message_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError, match=case["message"]):
        decode_any(case["text"].encode(), MESSAGES[case["message"]], case["message"])


@pytest.mark.parametrize("name", _read("subjects.json")["malformed_names"])
def test_a_name_that_would_break_a_subject_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        subjects.agent_claim(name)
